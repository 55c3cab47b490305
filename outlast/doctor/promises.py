"""Whether the store keeps every promise: on all of its runs, or where they are too many, on the newest."""

from collections.abc import Sequence
from functools import partial

from outlast.doctor.findings import Check, Finding, note, wrong
from outlast.store.invariants import PROMISES, Promise, Scope
from outlast.store.snapshot import Rows, Snapshot, TookTooLong

NEWEST = 20_000
"""So many of the newest runs are looked at, with their events, attempts and journals."""

_RECENT = """
WITH runs AS NOT MATERIALIZED (SELECT * FROM :mainruns WHERE id >= ?1),
events AS NOT MATERIALIZED (SELECT * FROM :mainevents WHERE run_id >= ?1),
calls AS NOT MATERIALIZED (SELECT * FROM :maincalls WHERE run_id >= ?1),
pins AS NOT MATERIALIZED (SELECT * FROM :mainpins WHERE run_id >= ?1),
attempts AS MATERIALIZED (SELECT * FROM :mainattempts WHERE run_id >= ?1)
"""
_ACTIVE = """
WITH runs AS NOT MATERIALIZED (
    SELECT * FROM :mainruns
    WHERE tenant IN (SELECT DISTINCT tenant FROM counters) AND status IN ('queued', 'running')
)
"""
_FIRST_OF_NEWEST = "SELECT id FROM runs ORDER BY id DESC LIMIT 1 OFFSET ?1"


async def first_of_newest(snapshot: Snapshot, newest: int = NEWEST) -> str:
    """The id from which on runs are looked at; empty if all of them are."""
    found = await snapshot.rows(_FIRST_OF_NEWEST, newest - 1)
    return str(found[0][0]) if found else ""


def checks(newest: int = NEWEST) -> list[Check]:
    """A check for each promise."""
    return [partial(_check, promise, newest) for promise in PROMISES]


async def _check(promise: Promise, newest: int, snapshot: Snapshot) -> Sequence[Finding]:
    try:
        broken = await _rows(promise, newest, snapshot)
    except TookTooLong as error:
        return [note("promise", f"{error}, so it is not known whether {promise.says}.")]
    return [_broken(promise, row) for row in broken]


async def _rows(promise: Promise, newest: int, snapshot: Snapshot) -> Rows:
    match promise.scope:
        case Scope.RECENT:
            first = await first_of_newest(snapshot, newest)
            return await snapshot.rows(_RECENT + promise.broken, first)
        case Scope.ACTIVE:
            return await snapshot.rows(_ACTIVE + promise.broken)
        case Scope.ALL:
            return await snapshot.rows(promise.broken)


def _broken(promise: Promise, row: Sequence[object]) -> Finding:
    which = ", ".join(map(str, row))
    return wrong(
        "promise",
        f"Broken: {promise.says}. Found: {which}.",
        "This is a bug of Outlast, or somebody wrote to the database beside it. Keep a copy of the store as it is, and "
        "report it with this line.",
        f"{promise.says}: {which}",
    )


async def summary(snapshot: Snapshot, newest: int = NEWEST) -> str:
    """What was looked at."""
    ((total,),) = await snapshot.rows("SELECT coalesce(sum(n), 0) FROM counters WHERE session_id = ''")
    if await first_of_newest(snapshot, newest):
        return (
            f"on the newest {newest} of {total} runs, and on all that have not ended where it concerns those"
        )
    return f"on all {total} runs"
