"""One session with 20,000 runs waiting in it costs nobody else anything, and is itself served in order."""

import sqlite3
import time
from collections.abc import Awaitable, Callable
from statistics import median

from outlast.clock import FakeClock
from outlast.engine import Engine
from outlast.store.lanes import Limits
from outlast.store.sqlite import SqliteStore
from tests.runs_factory import claim, new_run, submit

BLOCKED = 20_000
SAMPLES = 40
NOISE = 3
"""How many times as long the median may seem to take on a busy machine; a scan of the lane takes a hundred times."""


async def test_a_hot_session_starves_nobody(store: SqliteStore, clock: FakeClock) -> None:
    engine = Engine(store, clock, Limits(session=1))
    first = await submit(engine, new_run(session_id="hot"))
    waiting = await submit(engine, new_run(session_id="hot"))
    (hot,) = await claim(engine, lease_s=1000)
    assert hot.run.id == first.id
    quiet = await _timed(lambda: _one_run(engine))

    _multiply(store, waiting.id)

    busy = await _timed(lambda: _one_run(engine))
    in_line = await _timed(lambda: submit(engine, new_run(session_id="hot")))
    assert busy < quiet * NOISE, f"{quiet} s without, {busy} s with {BLOCKED} blocked runs"
    assert in_line < quiet * NOISE

    await engine.succeed(hot.run, hot.run.attempt_id or "", b"1")
    order: list[str] = []
    passed_on = await _timed(lambda: _next_of(engine, order))
    assert passed_on < quiet * NOISE
    assert order == [waiting.id, *(f"{waiting.id}_{n:05d}" for n in range(1, SAMPLES))]


async def _one_run(engine: Engine) -> None:
    """The life of a run that has nothing to do with the hot session, in a session of its own."""
    run = await submit(engine, new_run(session_id="cool"))
    (claimed,) = await claim(engine, lease_s=1000)
    assert claimed.run.id == run.id
    await engine.succeed(claimed.run, claimed.run.attempt_id or "", b"1")


async def _next_of(engine: Engine, order: list[str]) -> None:
    """A run of the hot session, to the moment at which the one after it can be claimed."""
    (claimed,) = await claim(engine, limit=10, lease_s=1000)
    order.append(claimed.run.id)
    await engine.succeed(claimed.run, claimed.run.attempt_id or "", b"1")


async def _timed(work: Callable[[], Awaitable[object]]) -> float:
    """The median time it takes."""
    taken = []
    for _ in range(SAMPLES):
        began = time.perf_counter()
        await work()
        taken.append(time.perf_counter() - began)
    return median(taken)


def _multiply(store: SqliteStore, run_id: str) -> None:
    """Have as many runs wait as this one does."""
    database = sqlite3.connect(store.path)
    columns = [row[1] for row in database.execute("PRAGMA table_info(runs)") if row[1] != "id"]
    some = f"WITH RECURSIVE some (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM some WHERE n < {BLOCKED})"
    copies = "SELECT :id || printf('_%05d', n), {} FROM some, {} WHERE {} = :id"
    rows = copies.format(", ".join(columns), "runs", "id")
    events = copies.format("seq, kind, at, attempt_id, data", "events", "run_id")
    with database:
        database.execute(f"{some} INSERT INTO runs (id, {', '.join(columns)}) {rows}", {"id": run_id})
        database.execute(
            f"{some} INSERT INTO events (run_id, seq, kind, at, attempt_id, data) {events}", {"id": run_id}
        )
        database.execute("UPDATE lanes SET waiting = waiting + ? WHERE name = 'session:hot'", (BLOCKED,))
        database.execute(
            "UPDATE counters SET n = n + ? WHERE status = 'queued' AND session_id IN ('', 'hot')", (BLOCKED,)
        )
    database.close()
