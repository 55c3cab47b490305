"""From the commit of an event to its bytes at a stream of a server, where this process is the worker that appends."""

import asyncio
import threading
import time
from contextlib import closing

from bench.onpostgres.reader import Reader
from outlast.births import NewRun
from outlast.clock import SystemClock
from outlast.engine import Engine
from outlast.runs import Caller, Draft, EventKind, Isolation, Run, RunRequest
from outlast.store.postgres import PostgresStore
from outlast.store.protocol import Offer

_WORKER = "worker_bench"
_RUNNER = "bench"
"""No worker beside this one has it."""
_APART_S = 0.023
_OPEN_S = 0.5


def told(url: str, port: int, count: int) -> list[int]:
    """How long each of so many events took, in ns."""
    return asyncio.run(_told(url, port, count))


async def _told(url: str, port: int, count: int) -> list[int]:
    clock = SystemClock()
    store = PostgresStore(url)
    engine = Engine(store, clock)
    await store.open()
    try:
        await engine.beat(_WORKER, 600.0)
        request = RunRequest(prompt="Say hello.", runner=_RUNNER, framework=_RUNNER)
        await engine.submit(Caller(), NewRun(request=request, kind=Isolation.SHARED, timeout_s=3600))
        (claimed,) = await engine.claim(Offer(_WORKER, Isolation.SHARED, frozenset({_RUNNER}), 1))
        return await _append(engine, claimed.run, port, count)
    finally:
        await engine.retire(_WORKER)
        await store.close()


async def _append(engine: Engine, run: Run, port: int, count: int) -> list[int]:
    attempt_id = run.attempt_id or ""
    came_at: dict[int, int] = {}
    committed_at: list[int] = []
    reading = threading.Thread(target=_read, args=(port, run.id, came_at))
    reading.start()
    await asyncio.sleep(_OPEN_S)
    for n in range(count):
        await engine.append(run.id, attempt_id, [Draft(EventKind.LOG, b'{"message": "%d"}' % n)])
        committed_at.append(time.monotonic_ns())
        await asyncio.sleep(_APART_S)
    await engine.succeed(run, attempt_id, b'"Said."')
    await asyncio.to_thread(reading.join)
    return [came_at[n] - at for n, at in enumerate(committed_at)]


def _read(port: int, run_id: str, came_at: dict[int, int]) -> None:
    with closing(Reader(port, run_id)) as reader:
        for message, at in reader.lines():
            came_at[int(message)] = at
