"""What a batch of writes makes of the runs it touches: decided in order, written set-wise. Pure.

One algorithm for both stores: the heads of the touched runs are at hand (locked, where there are several writers),
each command is decided on what the ones before it left, and a refused one changes nothing. The store then writes
everything here in one transaction and only then answers. What limits ask of a store is said in `lanes`.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping

import msgspec

from outlast.errors import IdempotencyConflict, RunNotFound
from outlast.journal import Entry, Fork
from outlast.lifecycle import birth, decide
from outlast.runs import Attempt, Body, Event, Notice, Run
from outlast.steps import Step
from outlast.store.lanes import LaneKey, Lanes, Remains, SessionKey, is_ahead, places_of, session_lane
from outlast.store.protocol import Submit, Submitted
from outlast.transitions import Admit, Command, Delete, Due, Enrol, OfStep, Transition, lingers

CounterKey = tuple[str, str, str]
"""Tenant, session ('' for all of the tenant), status."""
KeyPlace = tuple[str, str, str]
"""Tenant, session ('' for a key of the whole tenant), idempotency key."""
StepPlace = tuple[str, int, str]
"""Run, generation, key of a step."""


class Plan:
    """The writes of one transaction."""

    def __init__(
        self,
        heads: Mapping[str, Run],
        keys: Mapping[KeyPlace, Run],
        now: int,
        lanes: Lanes | None = None,
        remains: Mapping[str, Remains] | None = None,
    ) -> None:
        """`remains` are those of the attempts that are to be reaped, by attempt."""
        self._heads = dict(heads)
        self._keys = dict(keys)
        self._now = now
        self._remains = dict(remains or {})
        self.lanes = lanes or Lanes()
        self.born: dict[str, Body] = {}
        """Requests of the new runs; their heads are in `changed`."""
        self.changed: dict[str, Run] = {}
        self.sole: dict[str, type[Command]] = {}
        """What changed a run here, if it was one command and no more."""
        self.deleted: dict[str, Run] = {}
        self.events: list[Event] = []
        self.attempts: list[Attempt] = []
        """Those that end here; one that goes on is in its run's head."""
        self.results: dict[str, Body] = {}
        self.notices: list[Notice] = []
        self.entries: list[tuple[Run, Entry]] = []
        """Calls for the journals of these runs."""
        self.forgotten: list[tuple[str, int]] = []
        """Runs and generations whose last answered call leaves the journal, after `entries` are in it."""
        self.forks: list[tuple[str, Fork, int]] = []
        """New runs that begin with the journal of another, and the number of that one's last event."""
        self._steps: dict[StepPlace, Step] = {}
        self.steps: dict[StepPlace, Step] = {}
        """Steps that are new or changed."""
        self.counts: Counter[CounterKey] = Counter()
        self.transitions: list[Transition] = []
        self.left: dict[str, Remains] = {}
        """Remains of runs that end here."""
        self.reaped: list[str] = []
        """Attempts whose remains are gone."""
        self.sessions: dict[SessionKey, int | None] = {}
        """Sessions whose own limit is set here."""

    def head(self, run_id: str) -> Run | None:
        """The run as this batch leaves it so far."""
        return self._heads.get(run_id)

    def know(self, runs: Iterable[Run]) -> None:
        """Heads found later (by a claim's query); what this batch has changed stays as changed."""
        for run in runs:
            if run.id not in self.deleted:
                self._heads.setdefault(run.id, run)

    def know_steps(self, steps: Iterable[Step]) -> None:
        """The kept ones of those that the commands are about."""
        self._steps = {step_place(step): step for step in steps}

    def submit(self, new: Submit) -> Submitted:
        """A new run, or the one that its idempotency key already has."""
        run = new.run
        place = key_place(run)
        if place is not None and (existing := self._keys.get(place)) is not None:
            return self._replay(existing, run)
        if new.fork is not None:
            self.forks.append((run.id, new.fork, self._forked(run, new.fork).seq))
        transition = birth(self._queued_up(run))
        self.born[run.id] = new.request
        if place is not None:
            self._keys[place] = run
        self._take(transition, None)
        return Submitted(transition.run)

    def _forked(self, run: Run, fork: Fork) -> Run:
        """The run whose journal is copied; it may have been deleted since somebody looked."""
        source = self._heads.get(fork.run_id)
        if source is None or source.tenant != run.tenant:
            raise not_there(fork.run_id)
        return source

    def _queued_up(self, run: Run) -> Run:
        """The new run in its lanes, if it has any; one that is for later goes there when its time has come."""
        kinds = self.lanes.kinds(run)
        if not kinds:
            return run
        run = msgspec.structs.replace(run, lanes=kinds)
        if is_ahead(run):
            return run
        blocked_by = self.lanes.enter(run)
        return msgspec.structs.replace(run, blocked_by=blocked_by, ready=run.ready and blocked_by is None)

    def _replay(self, existing: Run, run: Run) -> Submitted:
        if existing.idempotency_hash != run.idempotency_hash:
            raise conflict(existing)
        return Submitted(self._heads.get(existing.id, existing), replayed=True)

    def apply(self, run_id: str, command: Command, tenant: str | None = None) -> Transition:
        """Decide one command on the run as the batch has it; a refusal raises and changes nothing."""
        run = self._heads.get(run_id)
        if run is None or (tenant is not None and run.tenant != tenant):
            raise not_there(run_id)
        if isinstance(command, OfStep):
            found = self._steps.get((run.id, run.generation, command.key))
            command = msgspec.structs.replace(command, found=found)
        transition = decide(run, command, self._now)
        if isinstance(command, Delete):
            self._forget(run)
            return transition
        if run.lanes:
            transition = self._in_lanes(run, command, transition)
        is_first = run_id not in self.changed
        self._take(transition, run)
        if is_first:
            self.sole[run_id] = type(command)
        return transition

    def _in_lanes(self, run: Run, command: Command, transition: Transition) -> Transition:
        """What the command means for the run's places."""
        if isinstance(command, Due) and is_ahead(run):
            return decide(transition.run, Admit(self.lanes.enter(run)), self._now)
        if transition.run.is_final:
            self._give_up_places(run, command, transition)
        return transition

    def _give_up_places(self, run: Run, command: Command, transition: Transition) -> None:
        self.lanes.leave(run)
        places, attempt = places_of(run), transition.attempt
        if attempt is not None and lingers(command):
            names = tuple(name for _, name in places)
            self.left[attempt.id] = Remains(attempt.id, attempt.worker_id, run.tenant, names)
        else:
            self.lanes.free(places)

    def reap(self, attempt_id: str) -> None:
        """Nothing of the attempt is left: the places that it kept are free. Once is enough."""
        remains = self.left.pop(attempt_id, None)
        if remains is None and (remains := self._remains.pop(attempt_id, None)) is not None:
            self.reaped.append(attempt_id)
        if remains is not None:
            self.lanes.free(remains.keys)

    def know_remains(self, found: Iterable[Remains]) -> None:
        """Remains that were found later."""
        self._remains |= {it.attempt_id: it for it in found if it.attempt_id not in self.reaped}

    def limit_session(self, key: SessionKey, max_running: int | None) -> None:
        """Give a session a limit of its own, or none; then `enrol` its runs."""
        self.sessions[key] = max_running
        self.lanes.set_own(key, max_running)

    def enrol(self, key: SessionKey) -> None:
        """Count in a session's runs that were submitted while it had no limit, if it has one now.

        Those that have begun have a place, even if there are too many; the others queue up for one in their order.
        """
        if self.lanes.limit((key[0], session_lane(key[1]))) is None:
            return
        mine = [run for run in self._heads.values() if (run.tenant, run.session_id) == key]
        found = [run for run in mine if not run.is_final and not run.lanes.startswith("session")]
        for run in sorted(found, key=lambda run: (run.attempt == 0, *_turn(run))):
            enrolled = msgspec.structs.replace(run, lanes=f"session {run.lanes}".rstrip())
            blocked_by = self.lanes.enrol(run, enrolled)
            self._take(decide(run, Enrol(enrolled.lanes, blocked_by), self._now), run)

    @property
    def openings(self) -> list[tuple[LaneKey, int]]:
        """Lanes with room for runs that wait, and how many heads of them to load: some may have gone in this batch."""
        found = self.lanes.openings
        gone = (
            sum(bool(run.lanes) for run in [*self.changed.values(), *self.deleted.values()]) if found else 0
        )
        return [(key, n + gone) for key, n in found]

    def admit(self, openings: Iterable[tuple[LaneKey, int]], waiting: Iterable[Run]) -> None:
        """Let in who is next in each of these lanes, out of those in the store and those of this batch."""
        self.know(waiting)
        queues: defaultdict[LaneKey, list[Run]] = defaultdict(list)
        for run in self._heads.values():
            if run.blocked_by is not None:
                queues[run.tenant, run.blocked_by].append(run)
        for key, _ in openings:
            for run in sorted(queues[key], key=_turn):
                if not self.lanes.has_opening(key):
                    break
                self._take(decide(run, Admit(self.lanes.let_in(run)), self._now), run)

    def _take(self, transition: Transition, before: Run | None) -> None:
        run = transition.run
        if run is not before:
            self._heads[run.id] = self.changed[run.id] = run
            self.sole.pop(run.id, None)
        self.transitions.append(transition)
        self.events += transition.events
        if transition.attempt is not None:
            self.attempts.append(transition.attempt)
        if transition.result is not None:
            self.results[run.id] = transition.result
        if transition.notice is not None:
            self.notices.append(transition.notice)
        if transition.entry is not None:
            self.entries.append((run, transition.entry))
        if transition.step is not None:
            self._take_step(transition.step)
        if transition.forgets is not None:
            self.forgotten.append((run.id, transition.forgets))
        if before is None or before.state is not run.state:
            self._count(before, -1)
            self._count(run, 1)

    def _take_step(self, step: Step) -> None:
        place = step_place(step)
        if self._steps.get(place) is not step:
            self._steps[place] = self.steps[place] = step

    def _forget(self, run: Run) -> None:
        del self._heads[run.id]
        self.changed.pop(run.id, None)
        self.deleted[run.id] = run
        place = key_place(run)
        if place is not None:
            self._keys.pop(place, None)
        self._count(run, -1)

    def _count(self, run: Run | None, n: int) -> None:
        if run is None:
            return
        self.counts[run.tenant, "", run.status] += n
        if run.session_id is not None:
            self.counts[run.tenant, run.session_id, run.status] += n


def _turn(run: Run) -> tuple[int, str]:
    return run.order_at, run.id


def key_place(run: Run) -> KeyPlace | None:
    """Where the run's idempotency key is unique, null without a key."""
    if run.idempotency_key is None or run.idempotency_session is None:
        return None
    return run.tenant, run.idempotency_session, run.idempotency_key


def step_place(step: Step) -> StepPlace:
    """Where the step is kept."""
    return step.run_id, step.generation, step.key


def step_places(commands: Iterable[tuple[str, Command]], heads: Mapping[str, Run]) -> list[StepPlace]:
    """The places whose present steps a batch of commands has to know."""
    return [
        (run_id, heads[run_id].generation, command.key)
        for run_id, command in commands
        if isinstance(command, OfStep) and run_id in heads
    ]


def not_there(run_id: str) -> RunNotFound:
    """The error for a run that there is not, or that is another tenant's."""
    return RunNotFound(f"There is no run {run_id}; it was never accepted here, or it was deleted.")


def conflict(run: Run) -> IdempotencyConflict:
    """The error for a key that is taken by `run` with another body."""
    return IdempotencyConflict(
        f"Idempotency key {run.idempotency_key!r} already belongs to run {run.id}, submitted with another body; "
        "use a new key for a new task, or send the same body again.",
        run_id=run.id,
    )


def key_places(submits: Iterable[Submit]) -> list[KeyPlace]:
    """The places whose present runs a batch of submits has to know."""
    return [place for new in submits if (place := key_place(new.run)) is not None]
