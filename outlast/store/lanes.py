"""Lanes: how many runs of one session, one agent and one tenant go at one time. Bookkeeping for a `Plan`; pure.

A run with limits takes a place in each of its lanes before it is ready: in its session's, then its agent's, then its
tenant's. Where a lane is full it waits, and keeps the places it has in those before it. So a lane lets its runs in in
queue order, a place that comes free moves one run on and no more, and as everybody takes places in the same order
nobody waits for each other. All lanes are a tenant's own: no tenant waits for another.

A place is given back when its run has ended and nothing of its attempt is left (`Remains` hold it until then). It is
not given back by a retry, a takeover or a wait: the run keeps its turn.

What a store does for it, in the transaction that writes the plan, and only for runs with `lanes` and for submits that
`Lanes.kinds` names lanes for (all others cost nothing):

1. Lock. Where there are several writers, one lock for each tenant in question, in the order of their names, before any
   head is locked: the lanes of a tenant hang together, and which of them a freed place will touch is not known before.
   An unlocked look at the heads says which tenants these are. A run may get its session's lane in between: look again
   once the heads are locked.
2. Load, before deciding: own limits of the sessions of submits and of runs that are due, then the rows of the lanes
   that `missing_of` and `missing_of_new` name, those of what is reaped, and that of a session to be limited.
3. Decide everything. When a session is limited, its runs that have not ended and are in no lane of it have to be at
   hand (locked with all others), for `Plan.enrol`.
4. Load the first so many runs that wait for each of `Plan.openings`, in the order of (order_at, id), and their lanes,
   and `Plan.admit` them. Once is enough: an admission opens nothing.
5. Write `changed` and `emptied`; of the plan, `left`, `reaped` and `sessions`.
6. When recovering: reap what is left with workers whose lease has ended, and look at the lanes that have room although
   runs wait there (a limit that was raised by a lot, or in the settings: `relimit` once after the start).
"""

from collections.abc import Collection, Iterable, Mapping

import msgspec

from outlast.config import Settings
from outlast.runs import Run

LaneKey = tuple[str, str]
"""A tenant, and the lane's name: `session:<id>`, `agent:<name>` or `tenant`."""
SessionKey = tuple[str, str]
"""A tenant and a session's id."""
LaneRow = tuple[str, str, int | None, int, int]
"""Tenant, name, max_running, held, waiting."""

ENROL_MAX = 10_000
"""Runs of a session that are counted in when it is limited; what is beyond that goes on uncounted."""
ADMIT_MAX = 500
"""Runs that one commit lets into one lane; a limit that was raised by more is used up second by second."""


class Limits(msgspec.Struct, frozen=True):
    """How many runs of each go at one time; null is no limit."""

    session: int | None = None
    """Of a session that has no number of its own."""
    tenant: int | None = None
    agents: Mapping[str, int] = {}

    @classmethod
    def of(cls, settings: Settings) -> "Limits":
        """The operator's; `NO_LIMITS` itself if there are none."""
        agents = {name: agent.max_running for name, agent in settings.agents.items()}
        limits = cls(
            settings.session_concurrency,
            settings.tenant_concurrency,
            {name: limit for name, limit in agents.items() if limit is not None},
        )
        return NO_LIMITS if limits == NO_LIMITS else limits


NO_LIMITS = Limits()


class Remains(msgspec.Struct, frozen=True):
    """An attempt whose run has ended while its processes may still be there, and the places it keeps."""

    attempt_id: str
    worker_id: str
    tenant: str
    places: tuple[str, ...]

    @property
    def keys(self) -> list[LaneKey]:
        return [(self.tenant, name) for name in self.places]


class Lane(msgspec.Struct):
    """A lane as the batch has it so far."""

    max_running: int | None
    held: int = 0
    waiting: int = 0

    @property
    def room(self) -> int:
        """How many more would fit in."""
        return ADMIT_MAX if self.max_running is None else max(0, self.max_running - self.held)


def lanes_of(run: Run) -> list[LaneKey]:
    """The run's lanes, in the order in which it takes its places."""
    return _keys(run.lanes, run)


def _keys(kinds: str, run: Run) -> list[LaneKey]:
    return [(run.tenant, _name(kind, run)) for kind in kinds.split()]


def _name(kind: str, run: Run) -> str:
    match kind:
        case "session":
            return session_lane(run.session_id or "")
        case "agent":
            return f"agent:{run.agent}"
        case _:
            return kind


def session_lane(session_id: str) -> str:
    return f"session:{session_id}"


def places_of(run: Run) -> list[LaneKey]:
    """The places that the run itself holds: none before its time has come, and none when it has ended."""
    if run.is_final or is_ahead(run):
        return []
    keys = lanes_of(run)
    return keys if run.blocked_by is None else keys[: keys.index((run.tenant, run.blocked_by))]


def is_ahead(run: Run) -> bool:
    """Whether it is to start later, and so queues nowhere yet. (A retry that pauses has its places.)"""
    return run.due_at is not None and run.attempt == 0


class Lanes:
    """The lanes that a batch touches."""

    def __init__(self, limits: Limits = NO_LIMITS, own: Mapping[SessionKey, int] | None = None) -> None:
        self._limits = limits
        self._own = dict(own or {})
        self._lanes: dict[LaneKey, Lane] = {}
        self._loaded: dict[LaneKey, LaneRow | None] = {}

    # What is known.

    def kinds(self, run: Run) -> str:
        """Which kinds of lane a run that is submitted now belongs to, for `Run.lanes`."""
        limits = self._limits
        if limits is NO_LIMITS and not self._own:
            return ""
        session = run.session_id is not None and self._of_session((run.tenant, run.session_id)) is not None
        found = (session and "session", run.agent in limits.agents and "agent", limits.tenant and "tenant")
        return " ".join(kind for kind in found if kind)

    def _of_session(self, key: SessionKey) -> int | None:
        return self._own.get(key, self._limits.session)

    def limit(self, key: LaneKey) -> int | None:
        """The limit in force."""
        tenant, name = key
        kind, _, of = name.partition(":")
        match kind:
            case "session":
                return self._of_session((tenant, of))
            case "agent":
                return self._limits.agents.get(of)
            case _:
                return self._limits.tenant

    def missing_of(self, runs: Iterable[Run]) -> set[LaneKey]:
        """The lanes of these runs that have to be known before anything is decided on them."""
        return self.missing(key for run in runs for key in lanes_of(run))

    def missing_of_new(self, runs: Iterable[Run]) -> set[LaneKey]:
        """The same for runs that are being submitted."""
        if self._limits is NO_LIMITS and not self._own:
            return set()
        return self.missing(key for run in runs for key in _keys(self.kinds(run), run))

    def missing(self, keys: Iterable[LaneKey]) -> set[LaneKey]:
        """Those that are not known yet."""
        return {key for key in keys if key not in self._lanes}

    def know(self, keys: Iterable[LaneKey], rows: Iterable[LaneRow]) -> None:
        """The rows of these lanes; a lane without a row is empty."""
        found = {(row[0], row[1]): row for row in rows}
        for key in self.missing(keys):
            row = found.get(key)
            self._loaded[key] = row
            self._lanes[key] = Lane(self.limit(key)) if row is None else Lane(*row[2:])

    @property
    def known(self) -> Collection[LaneKey]:
        return self._lanes.keys()

    def relimit(self, rows: Iterable[LaneRow]) -> None:
        """The limits of lanes that are known have changed in the store."""
        for tenant, name, max_running, *_ in rows:
            self._lanes[tenant, name].max_running = max_running

    def know_own(self, own: Mapping[SessionKey, int]) -> None:
        """Sessions' own limits, loaded later."""
        self._own = {**own, **self._own}

    # What happens.

    def enter(self, run: Run) -> str | None:
        """Queue up in all its lanes; the one it waits for, null when it has got its places at once."""
        for key in lanes_of(run):
            self._lanes[key].max_running = self.limit(key)
        return self._take(run, lanes_of(run))

    def let_in(self, run: Run) -> str | None:
        """Give it the place it waits for; the lane that it waits for next, null when it has them all."""
        keys = lanes_of(run)
        here = keys.index((run.tenant, run.blocked_by or ""))
        self._lanes[keys[here]].waiting -= 1
        self._lanes[keys[here]].held += 1
        return self._take(run, keys[here + 1 :])

    def _take(self, run: Run, keys: Iterable[LaneKey]) -> str | None:
        for key in keys:
            lane = self._lanes[key]
            if lane.waiting or not lane.room:  # who comes later does not pass those who wait
                lane.waiting += 1
                return key[1]
            lane.held += 1
        return None

    def enrol(self, before: Run, run: Run) -> str | None:
        """The run as it was gets a lane more, its session's; the lane it waits for now, null for none."""
        if is_ahead(run):
            return None
        if run.attempt:
            self._lanes[lanes_of(run)[0]].held += 1
            return run.blocked_by
        self.leave(before)
        self.free(places_of(before))
        return self._take(run, lanes_of(run))

    def leave(self, run: Run) -> None:
        """It waits no more. (What it holds is freed apart: it may outlast the run.)"""
        if run.blocked_by is not None:
            self._lanes[run.tenant, run.blocked_by].waiting -= 1

    def free(self, places: Iterable[LaneKey]) -> None:
        """Give these places back."""
        for key in places:
            self._lanes[key].held -= 1

    def set_own(self, key: SessionKey, max_running: int | None) -> None:
        """A session gets a limit of its own, or the common one again."""
        self._own.pop(key, None)
        if max_running is not None:
            self._own[key] = max_running
        lane = key[0], session_lane(key[1])
        self._lanes[lane].max_running = self.limit(lane)

    # What comes of it.

    @property
    def openings(self) -> list[tuple[LaneKey, int]]:
        """Lanes with room for runs that wait, and how many may come in: tenants' first, then agents', then sessions'.

        In this order, who waits for the last of its places is served before those who only begin to queue there.
        """
        found = [
            (key, min(lane.room, lane.waiting, ADMIT_MAX))
            for key, lane in self._lanes.items()
            if lane.waiting
        ]
        return sorted((opening for opening in found if opening[1]), key=_last_first)

    def has_opening(self, key: LaneKey) -> bool:
        return bool(self._lanes[key].room and self._lanes[key].waiting)

    @property
    def changed(self) -> list[LaneRow]:
        """The rows to write, in key order."""
        rows = [
            row for key, lane in sorted(self._lanes.items()) if (row := _row(key, lane)) != self._loaded[key]
        ]
        return [row for row in rows if row[3] or row[4]]

    @property
    def emptied(self) -> list[LaneKey]:
        """The rows to delete, in key order."""
        return [
            key
            for key, lane in sorted(self._lanes.items())
            if not lane.held and not lane.waiting and self._loaded[key] is not None
        ]


_RANK = {"tenant": 0, "agent": 1, "session": 2}


def _last_first(opening: tuple[LaneKey, int]) -> tuple[int, LaneKey]:
    return _RANK[opening[0][1].partition(":")[0]], opening[0]


def _row(key: LaneKey, lane: Lane) -> LaneRow:
    return (*key, lane.max_running, lane.held, lane.waiting)
