"""What `store.lanes` asks of a store, for SQLite: its one writer needs no lock."""

import sqlite3
from collections.abc import Collection, Iterable, Sequence

import msgspec

from outlast.runs import Run
from outlast.store import rows
from outlast.store.lanes import ENROL_MAX, LaneKey, LaneRow, Lanes, Limits, Remains, SessionKey, session_lane
from outlast.store.ops import LimitSession, Reap
from outlast.store.plan import Plan
from outlast.store.queries import Row, query, statements
from outlast.store.sqlite.ops import PACKAGE, Op

_places = msgspec.json.Decoder(tuple[str, ...]).decode


class LaneRows:
    """Loads and writes the lanes of one transaction."""

    def __init__(self, db: sqlite3.Connection, limits: Limits) -> None:
        self._db = db
        self._limits = limits

    def load(
        self, new: Sequence[Run], ops: Sequence[Op], heads: Collection[Run]
    ) -> tuple[Lanes, dict[str, Remains]]:
        """All that deciding these ops needs to know, with the runs that are submitted; without limits, nothing."""
        lanes = Lanes(self._limits, self._own(new))
        asked = [op.attempt_id for op in ops if isinstance(op, Reap)]
        remains = {found.attempt_id: found for one in asked for found in self._remains("select_remains", one)}
        wanted = lanes.missing_of_new(new) | lanes.missing_of(run for run in heads if run.lanes)
        wanted |= {key for found in remains.values() for key in found.keys}
        wanted |= {_lane(op.key) for op in ops if isinstance(op, LimitSession)}
        self._know(lanes, wanted)
        return lanes, remains

    def recover(self, plan: Plan, now: int) -> None:
        """Reap what dead workers left, and look at lanes with room for runs that wait."""
        dead = list(self._remains("select_dead_remains", now))
        self._know(plan.lanes, plan.lanes.missing(key for found in dead for key in found.keys))
        plan.know_remains(dead)
        for found in dead:
            plan.reap(found.attempt_id)
        with_room = self._db.execute(query(PACKAGE, "select_lanes_with_room")).fetchall()
        plan.lanes.know([(row[0], row[1]) for row in with_room], with_room)

    def relimit(self, plan: Plan) -> None:
        """Put the limits in force on every lane."""
        limits = self._limits
        agents = msgspec.json.encode(limits.agents).decode()
        self._db.execute(query(PACKAGE, "relimit"), (limits.tenant, agents, limits.session))
        sql = query(PACKAGE, "select_lane")
        plan.lanes.relimit(row for key in plan.lanes.known if (row := self._db.execute(sql, key).fetchone()))

    def limit_session(self, plan: Plan, op: LimitSession) -> None:
        """Limit a session, and count in its runs that are there already."""
        sql = query(PACKAGE, "select_unlimited").replace(":head", rows.HEAD_COLUMNS)
        active = [rows.read(row) for row in self._db.execute(sql, (*op.key, ENROL_MAX))]
        self.load_of(plan, active)
        plan.know(active)
        plan.limit_session(op.key, op.max_running)
        plan.enrol(op.key)

    def load_of(self, plan: Plan, runs: Collection[Run]) -> None:
        """The lanes of runs that were found while deciding."""
        in_lanes = [run for run in runs if run.lanes]
        if in_lanes:
            plan.lanes.know_own(self._own(run for run in in_lanes if run.due_at is not None))
            self._know(plan.lanes, plan.lanes.missing_of(in_lanes))

    def settle(self, plan: Plan) -> None:
        """Let in who is next where there is room."""
        openings = plan.openings
        if openings:
            waiting = [run for key, n in openings for run in self._next(key, n)]
            self.load_of(plan, waiting)
            plan.admit(openings, waiting)

    def write(self, plan: Plan) -> None:
        self._insert("put_lanes", plan.lanes.changed)
        for key in plan.lanes.emptied:
            self._db.execute(query(PACKAGE, "delete_lane"), key)
        left = plan.left.values()
        places = [msgspec.json.encode(it.places).decode() for it in left]
        found = zip(left, places, strict=True)
        self._insert("insert_remains", [(it.attempt_id, it.worker_id, it.tenant, at) for it, at in found])
        for attempt_id in plan.reaped:
            self._db.execute(query(PACKAGE, "delete_remains"), (attempt_id,))

    def _own(self, runs: Iterable[Run]) -> dict[SessionKey, int]:
        asked = {(run.tenant, run.session_id) for run in runs if run.session_id is not None}
        if not asked or not self._db.execute(query(PACKAGE, "has_session_limits")).fetchone()[0]:
            return {}
        sessions = msgspec.json.encode(list(asked)).decode()
        found = self._db.execute(query(PACKAGE, "select_session_limits"), (sessions,))
        return {(tenant, session): limit for tenant, session, limit in found}

    def _know(self, lanes: Lanes, keys: Collection[LaneKey]) -> None:
        sql = query(PACKAGE, "select_lane")
        found: list[LaneRow] = [row for key in keys if (row := self._db.execute(sql, key).fetchone())]
        lanes.know(keys, found)

    def _next(self, key: LaneKey, n: int) -> list[Run]:
        sql = query(PACKAGE, "select_blocked").replace(":head", rows.HEAD_COLUMNS)
        return [rows.read(row) for row in self._db.execute(sql, (*key, n))]

    def _remains(self, name: str, parameter: str | int) -> Iterable[Remains]:
        found = self._db.execute(query(PACKAGE, name), (parameter,)).fetchall()
        return [Remains(row[0], row[1], row[2], _places(row[3])) for row in found]

    def _insert(self, name: str, values: Sequence[Row]) -> None:
        for sql, parameters in statements(PACKAGE, name, values):
            self._db.execute(sql, parameters)


def _lane(key: SessionKey) -> LaneKey:
    return key[0], session_lane(key[1])
