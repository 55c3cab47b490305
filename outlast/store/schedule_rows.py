"""A schedule as a row and back, in the same columns and order for both stores. Nothing is validated on read."""

from outlast.schedules import Missed, Schedule
from outlast.store.queries import Row
from outlast.store.rows import Cells

SCHEDULE_COLUMNS = """id, tenant, name, cron, timezone, missed, run, paused, created_at, created_by, revision,
    next_fire_at, last_fire_at, last_run_id, last_error"""
"""The order that `read` expects; `:schedule` in a query stands for it."""


def row(schedule: Schedule) -> Row:
    """What is written, in the order of the columns."""
    return (
        schedule.id,
        schedule.tenant,
        schedule.name,
        schedule.cron,
        schedule.timezone,
        schedule.missed.value,
        schedule.run,
        schedule.paused,
        schedule.created_at,
        schedule.created_by,
        schedule.revision,
        schedule.next_fire_at,
        schedule.last_fire_at,
        schedule.last_run_id,
        schedule.last_error,
    )


# mypy cannot know the types of columns; the schema holds them.
def read(found: Cells) -> Schedule:
    """The schedule from a row of `SCHEDULE_COLUMNS`."""
    return Schedule(
        id=found[0],
        tenant=found[1],
        name=found[2],
        cron=found[3],
        timezone=found[4],
        missed=Missed(found[5]),
        run=bytes(found[6]),
        paused=bool(found[7]),
        created_at=found[8],
        created_by=found[9],
        revision=found[10],
        next_fire_at=found[11],
        last_fire_at=found[12],
        last_run_id=found[13],
        last_error=found[14],
    )
