"""A change of a schedule, and the run it makes, inside a batch's transaction."""

from outlast.errors import ScheduleChanged, TooManySchedules
from outlast.store import schedule_rows
from outlast.store.plan import Plan
from outlast.store.postgres.connection import Link
from outlast.store.postgres.statements import sql
from outlast.store.protocol import SCHEDULES_MAX, Submitted, Turn


async def turn(link: Link, plan: Plan, change: Turn) -> Submitted | None:
    """Check that nobody else was quicker, then write; a refusal raises and has written nothing."""
    await _check(link, change)
    submitted = plan.submit(change.run) if change.run is not None else None
    if submitted is None or not submitted.replayed:
        await _write(link, change)
    return submitted


async def _check(link: Link, change: Turn) -> None:
    if change.before is None:
        assert change.after is not None
        if await link.fetchval(sql("count_schedules"), change.after.tenant) >= SCHEDULES_MAX:
            raise TooManySchedules(
                f"There are {SCHEDULES_MAX} schedules already, and no more are kept; delete one that is not needed."
            )
    elif await link.fetchval(sql("select_revision"), change.before.id) != change.before.revision:
        raise ScheduleChanged(f"Schedule {change.before.id} has changed meanwhile; read it again.")


async def _write(link: Link, change: Turn) -> None:
    if change.after is not None:
        await link.execute(sql("put_schedule"), *schedule_rows.row(change.after))
    elif change.before is not None:
        await link.execute(sql("delete_schedule"), change.before.id)
