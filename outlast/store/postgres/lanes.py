"""What `store.lanes` asks of a store, for PostgreSQL.

Whoever changes lanes of a tenant holds its lock, an advisory one, taken before any head. Most databases have no limits,
so a batch takes none of these locks until it meets a run with lanes; then it begins anew, and from then on this process
looks before it locks.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import TypeGuard

import msgspec

from outlast.runs import Run
from outlast.store import rows
from outlast.store.lanes import ENROL_MAX, LaneKey, LaneRow, Lanes, Limits, Remains, SessionKey, session_lane
from outlast.store.ops import Apply, LimitSession, Reap
from outlast.store.plan import Plan
from outlast.store.postgres.connection import Link
from outlast.store.postgres.statements import columns, sql
from outlast.store.queries import Row
from outlast.store.rows import Cells
from outlast.transitions import Append

_places = msgspec.json.Decoder(tuple[str, ...]).decode


class NeedsTenants(Exception):
    """The batch has met runs with lanes, and does not hold all the locks that it needs for them."""


class LaneRows:
    """Locks, loads and writes the lanes of one transaction."""

    def __init__(self, link: Link, limits: Limits) -> None:
        self._link = link
        self._limits = limits
        self._held: set[str] = set()

    async def lock(
        self, new: Iterable[Run], ops: Sequence[object], recovered: Iterable[str], *, looks: bool
    ) -> None:
        """Take the locks that these ops are known to need; with `looks`, also those of the runs they touch."""
        tenants = {*recovered, *(run.tenant for run in new)}
        tenants |= {op.key[0] for op in ops if isinstance(op, LimitSession)}
        tenants |= {found.tenant for found in await self._remains_of(ops)}
        touched = [op.run_id for op in ops if _touches(op)] if looks else []
        if touched:
            tenants |= {row[0] for row in await self._link.fetch(sql("select_lane_tenants"), touched)}
        if tenants:
            await self._link.execute(sql("lock_tenants"), sorted(tenants))
        self._held = tenants

    def holds(self, run: Run) -> bool:
        """Whether the run's lanes, if it has any, may be changed."""
        return not run.lanes or run.tenant in self._held

    async def load(
        self, new: Sequence[Run], ops: Sequence[object], heads: Collection[Run]
    ) -> tuple[Lanes, dict[str, Remains]]:
        """All that deciding these ops needs to know, with the runs that are submitted."""
        touched = {op.run_id for op in ops if _touches(op)}
        limited = {op.key for op in ops if isinstance(op, LimitSession)}
        in_lanes = [
            run
            for run in heads
            if run.lanes and (run.id in touched or (run.tenant, run.session_id) in limited)
        ]
        if not all(map(self.holds, in_lanes)):
            raise NeedsTenants
        lanes = Lanes(self._limits, await own_limits(self._link, new))
        remains = {found.attempt_id: found for found in await self._remains_of(ops)}
        wanted = lanes.missing_of_new(new) | lanes.missing_of(in_lanes)
        wanted |= {key for found in remains.values() for key in found.keys}
        wanted |= {_lane(key) for key in limited}
        await self._know(lanes, wanted)
        return lanes, remains

    async def unlimited(self, key: SessionKey) -> set[str]:
        """The runs that `Plan.enrol` would count in, as far as can be seen before they are locked."""
        return {row[0] for row in await self._link.fetch(sql("select_unlimited"), *key, ENROL_MAX)}

    async def recover(self, plan: Plan, now: int) -> None:
        """Reap what dead workers left, and look at lanes with room for runs that wait."""
        if not self._held:
            return
        found = await self._link.fetch(sql("select_dead_remains"), now, list(self._held))
        dead = [_remains(row) for row in found]
        await self._know(plan.lanes, plan.lanes.missing(key for it in dead for key in it.keys))
        plan.know_remains(dead)
        for it in dead:
            plan.reap(it.attempt_id)
        with_room = [
            _row(row) for row in await self._link.fetch(sql("select_lanes_with_room"), list(self._held))
        ]
        plan.lanes.know([(row[0], row[1]) for row in with_room], with_room)

    async def relimit(self, plan: Plan) -> None:
        """Put the limits in force on every lane."""
        limits = self._limits
        agents = list(limits.agents), list(limits.agents.values())
        await self._link.execute(sql("relimit"), limits.tenant, *agents, limits.session, list(self._held))
        plan.lanes.relimit([_row(row) for row in await self._rows(plan.lanes.known)])

    async def load_of(self, plan: Plan, runs: Collection[Run]) -> None:
        """The lanes of runs that were found while deciding."""
        in_lanes = [run for run in runs if run.lanes]
        if in_lanes:
            plan.lanes.know_own(
                await own_limits(self._link, [run for run in in_lanes if run.due_at is not None])
            )
            await self._know(plan.lanes, plan.lanes.missing_of(in_lanes))

    async def settle(self, plan: Plan) -> None:
        """Let in who is next where there is room."""
        openings = plan.openings
        if not openings:
            return
        waiting: list[Run] = []
        for key, n in openings:
            waiting += [rows.read(row) for row in await self._link.fetch(sql("select_blocked"), *key, n)]
        await self.load_of(plan, waiting)
        plan.admit(openings, waiting)

    async def write(self, plan: Plan) -> None:
        """The lanes, remains and sessions as the plan leaves them; mostly nothing."""
        left = plan.left.values()
        encoded: list[Row] = [
            (it.attempt_id, it.worker_id, it.tenant, msgspec.json.encode(it.places).decode()) for it in left
        ]
        await self._put("put_lanes", plan.lanes.changed)
        await self._put("delete_lanes", plan.lanes.emptied)
        await self._put("insert_remains", encoded)
        if plan.reaped:
            await self._link.execute(sql("delete_remains"), plan.reaped)
        for (tenant, session), limit in plan.sessions.items():
            await self._link.execute(sql("put_session"), tenant, session, limit)

    async def _put(self, name: str, values: Sequence[Row]) -> None:
        if values:
            await self._link.execute(sql(name), *columns(values, len(values[0])))

    async def _know(self, lanes: Lanes, keys: Collection[LaneKey]) -> None:
        lanes.know(keys, [_row(row) for row in await self._rows(keys)])

    async def _rows(self, keys: Collection[LaneKey]) -> Sequence[Cells]:
        if not keys:
            return []
        return await self._link.fetch(sql("select_lanes"), [key[0] for key in keys], [key[1] for key in keys])

    async def _remains_of(self, ops: Sequence[object]) -> list[Remains]:
        asked = [op.attempt_id for op in ops if isinstance(op, Reap)]
        return (
            [_remains(row) for row in await self._link.fetch(sql("select_remains"), asked)] if asked else []
        )


async def own_limits(link: Link, runs: Iterable[Run]) -> dict[SessionKey, int]:
    """Of these runs' sessions, those with a limit of their own."""
    asked = {(run.tenant, run.session_id) for run in runs if run.session_id is not None}
    if not asked:
        return {}
    tenants, sessions = zip(*asked, strict=True)
    return {
        (row[0], row[1]): row[2] for row in await link.fetch(sql("select_session_limits"), tenants, sessions)
    }


def _touches(op: object) -> TypeGuard[Apply]:
    """Whether the op may change its run's places: an append never does, and there are many."""
    return isinstance(op, Apply) and not isinstance(op.command, Append)


def _row(row: Cells) -> LaneRow:
    return row[0], row[1], row[2], row[3], row[4]


def _remains(row: Cells) -> Remains:
    return Remains(row[0], row[1], row[2], _places(row[3]))


def _lane(key: SessionKey) -> LaneKey:
    return key[0], session_lane(key[1])
