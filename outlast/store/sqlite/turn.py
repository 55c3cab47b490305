"""A change of a schedule, and the run it makes, inside the writer's transaction."""

import sqlite3

from outlast.errors import ScheduleChanged, TooManySchedules
from outlast.store import schedule_rows
from outlast.store.plan import Plan
from outlast.store.protocol import SCHEDULES_MAX, Submitted, Turn
from outlast.store.queries import query
from outlast.store.sqlite.ops import PACKAGE


def turn(db: sqlite3.Connection, plan: Plan, change: Turn) -> Submitted | None:
    """Check that nobody else was quicker, then write; a refusal raises and has written nothing."""
    _check(db, change)
    submitted = plan.submit(change.run) if change.run is not None else None
    if submitted is None or not submitted.replayed:
        _write(db, change)
    return submitted


def _check(db: sqlite3.Connection, change: Turn) -> None:
    if change.before is None:
        assert change.after is not None
        if (
            db.execute(query(PACKAGE, "count_schedules"), (change.after.tenant,)).fetchone()[0]
            >= SCHEDULES_MAX
        ):
            raise TooManySchedules(
                f"There are {SCHEDULES_MAX} schedules already, and no more are kept; delete one that is not needed."
            )
        return
    found = db.execute(query(PACKAGE, "select_revision"), (change.before.id,)).fetchone()
    if found is None or found[0] != change.before.revision:
        raise ScheduleChanged(f"Schedule {change.before.id} has changed meanwhile; read it again.")


def _write(db: sqlite3.Connection, change: Turn) -> None:
    if change.after is not None:
        db.execute(query(PACKAGE, "put_schedule"), schedule_rows.row(change.after))
    elif change.before is not None:
        db.execute(query(PACKAGE, "delete_schedule"), (change.before.id,))
