"""Lists and claims as the number of runs grows: the same 10,000 ready runs, alone and behind many finished ones."""

import asyncio
import itertools
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from bench.load import drive, get
from bench.onpostgres.cluster import NAME, cluster, postgres
from bench.report import Bound, Row
from bench.server import Server
from bench.turns import Scale, in_turns
from outlast.births import NewRun
from outlast.clock import SystemClock
from outlast.engine import Engine
from outlast.runs import Caller, Isolation, RunRequest
from outlast.store.postgres import PostgresStore
from outlast.store.protocol import Offer

_READY = 10_000
_FINISHED = 1_000_000
_FEW = f"{NAME} at {_READY:,} runs"
_LIST = get("/api/v1/runs?page_size=20")
_WORKER = "worker_bench"
_RUNNERS = frozenset({"echo"})
_CLAIMED = 10
"""Runs of one claim."""
_CLAIMS = 40
"""Claims of one turn."""

_COLUMNS = """
SELECT string_agg(quote_ident(column_name), ', ' ORDER BY ordinal_position)
FROM information_schema.columns
WHERE table_schema = 'outlast' AND table_name = 'runs' AND is_generated = 'NEVER' AND column_name <> 'id'
"""
_COPY = """
INSERT INTO outlast.runs (id, {columns})
SELECT left(id, 10) || lpad(n::text, length(id) - 10, '0'), {columns}
FROM outlast.runs, generate_series({first}, {first} + {count} - 1) AS n
WHERE id = '{like}'
"""
_COUNT = """
UPDATE outlast.counters SET n = n + {count}
WHERE (tenant, session_id, status, shard) = (
    SELECT tenant, session_id, status, shard FROM outlast.counters
    WHERE tenant = 'default' AND session_id = '' AND status = '{status}'
    ORDER BY shard
    LIMIT 1
)
"""


@dataclass
class Filled:
    """A database with runs in it, and the one who claims from it."""

    name: str
    store: PostgresStore
    engine: Engine


def measure(scale: Scale, folder: Path) -> list[Row]:
    """Claims in a process of ours, then lists over HTTP."""
    finished = _FINISHED if scale.many >= 100_000 else scale.many
    many = f"{NAME} at {finished + _READY:,} runs"
    with ExitStack() as stack:
        database = stack.enter_context(postgres())
        urls = {many: database.database(), _FEW: database.database()}
        claims = asyncio.run(_claims(urls, {many: finished, _FEW: 0}, scale.rounds))
        running: list[Server] = [
            stack.enter_context(cluster(url, folder, name=name)) for name, url in urls.items()
        ]
        lists = in_turns(running, scale.rounds, lambda server: _list(server, scale.for_s))
    return [
        Row(
            f"claim of {_CLAIMED} of {_READY:,} ready runs behind {finished:,} finished, ms",
            {NAME: claims[many], "none finished": claims[_FEW]},
            (Bound("none finished", at_most=1.5),),
            digits=2,
        ),
        Row(
            f"list of 20 at {finished + _READY:,} runs, per second",
            {NAME: [rate for rate, _ in lists[many]], _FEW: [rate for rate, _ in lists[_FEW]]},
            (Bound(_FEW, at_least=1 / 1.5),),
            per_cpu={NAME: [each for _, each in lists[many]], _FEW: [each for _, each in lists[_FEW]]},
        ),
    ]


def _list(server: Server, for_s: float) -> tuple[float, float]:
    cpu_s = server.cpu_s()
    load = drive(server.port, itertools.repeat(_LIST), expected=200, for_s=for_s)
    return load.rate, len(load.latencies_ns) / max(server.cpu_s() - cpu_s, 0.01)


async def _claims(urls: dict[str, str], finished: dict[str, int], rounds: int) -> dict[str, list[float]]:
    filled = [await _fill(name, url, finished[name]) for name, url in urls.items()]
    took: dict[str, list[float]] = {one.name: [] for one in filled}
    for number in range(rounds + 1):
        for one in filled:
            ms = await _claim(one)
            if number:
                took[one.name].append(ms)
    for one in filled:
        await one.engine.retire(_WORKER)
        await one.store.close()
    return took


async def _claim(filled: Filled) -> float:
    """How long a claim takes on the average, in ms."""
    await filled.engine.beat(_WORKER, 600.0)
    offer = Offer(_WORKER, Isolation.SHARED, _RUNNERS, _CLAIMED)
    began = time.monotonic()
    for _ in range(_CLAIMS):
        assert len(await filled.engine.claim(offer)) == _CLAIMED
    return (time.monotonic() - began) * 1000 / _CLAIMS


async def _fill(name: str, url: str, finished: int) -> Filled:
    """Runs of the engine's own making, copied in SQL."""
    clock = SystemClock()
    store = PostgresStore(url)
    engine = Engine(store, clock)
    await store.open()
    await engine.beat(_WORKER, 600.0)
    ended = (await engine.submit(Caller(), _new())).run.id
    (claimed,) = await engine.claim(Offer(_WORKER, Isolation.SHARED, _RUNNERS, 1))
    await engine.succeed(claimed.run, claimed.run.attempt_id or "", b'"Say hello."')
    ready = (await engine.submit(Caller(), _new())).run.id
    await _copy(url, ended, 1, finished, "succeeded")
    await _copy(url, ready, finished + 1, _READY, "queued")
    return Filled(name, store, engine)


def _new() -> NewRun:
    request = RunRequest(prompt="Say hello.", runner="echo", framework="echo")
    return NewRun(request=request, kind=Isolation.SHARED, timeout_s=3600)


async def _copy(url: str, like: str, first: int, count: int, status: str) -> None:
    link = await asyncpg.connect(url)
    try:
        columns = await link.fetchval(_COLUMNS)
        await link.execute(_COPY.format(columns=columns, first=first, count=count, like=like))
        await link.execute(_COUNT.format(count=count, status=status))
        await link.execute("VACUUM ANALYZE outlast.runs")
    finally:
        await link.close()
