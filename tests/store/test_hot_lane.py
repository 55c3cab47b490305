"""One session with 20,000 runs waiting in it costs nobody else anything, and is itself served in order."""

import time
from collections.abc import Awaitable, Callable

from outlast.clock import FakeClock
from outlast.engine import Engine
from outlast.store import rows
from outlast.store.lanes import Limits
from outlast.store.protocol import Store
from tests.runs_factory import claim, new_run, submit
from tests.store.conftest import Either

BLOCKED = 20_000
SAMPLES = 40
NOISE = 3
"""How many times as long it may seem to take; to count the runs that wait takes more."""
SLACK_S = 0.01


async def test_a_hot_session_starves_nobody(either: Either, store: Store, clock: FakeClock) -> None:
    engine = Engine(store, clock, Limits(session=1))
    first = await submit(engine, new_run(session_id="hot"))
    waiting = await submit(engine, new_run(session_id="hot"))
    (hot,) = await claim(engine, lease_s=1000)
    assert hot.run.id == first.id
    quiet = await _timed(lambda: _one_run(engine))

    await _multiply(either, waiting.id)

    busy = await _timed(lambda: _one_run(engine))
    in_line = await _timed(lambda: submit(engine, new_run(session_id="hot")))
    bound = quiet * NOISE + SLACK_S
    assert busy < bound, f"{quiet} s without, {busy} s with {BLOCKED} blocked runs"
    assert in_line < bound

    await engine.succeed(hot.run, hot.run.attempt_id or "", b"1")
    order: list[str] = []
    passed_on = await _timed(lambda: _next_of(engine, order))
    assert passed_on < bound
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
    """How quickly it can be done: the best of many, which a busy machine does little to."""
    taken = []
    for _ in range(SAMPLES):
        began = time.perf_counter()
        await work()
        taken.append(time.perf_counter() - began)
    return min(taken)


async def _multiply(either: Either, run_id: str) -> None:
    """Have as many runs wait as this one does."""
    columns = f"{rows.HEAD_COLUMNS.removeprefix('id, ')}, request"
    some = f"WITH RECURSIVE extra (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM extra WHERE n < {BLOCKED})"
    fresh = "id || '_' || substr(CAST(100000 + n AS TEXT), 2)"
    await either.execute(
        f"{some} INSERT INTO runs (id, {columns}) SELECT {fresh}, {columns} FROM extra, runs WHERE id = '{run_id}'",
        "INSERT INTO events (run_id, seq, kind, at, data) SELECT runs.id, events.seq, events.kind, events.at, data "
        f"FROM runs, events WHERE runs.id LIKE '{run_id}_%' AND events.run_id = '{run_id}'",
        f"UPDATE lanes SET waiting = waiting + {BLOCKED} WHERE name = 'session:hot'",
        f"UPDATE counters SET n = n + {BLOCKED} WHERE status = 'queued' AND session_id IN ('', 'hot') "
        "AND shard = (SELECT min(shard) FROM counters WHERE status = 'queued' AND session_id = 'hot')",
    )
