"""What a run asks of PostgreSQL: commits, flushes, bytes of WAL and of tables, CPU. Idle processes are taken off."""

import asyncio
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from bench.bursts import burst
from bench.onpostgres.cluster import NAME, Cluster, cluster, postgres, postgres_cpu_s
from bench.report import Row
from bench.runs import Watcher
from bench.turns import Scale
from tests.postgres import Postgres

_LONE = 100
_REPORTED_S = 11.0
"""A PostgreSQL process that has nothing to do reports its counts within ten seconds."""
_COUNTS = """
SELECT
    (SELECT sum(xact_commit) FROM pg_stat_database)::float8,
    (SELECT sum(fsyncs) FROM pg_stat_io WHERE object = 'wal')::float8,
    pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::float8
"""
_SIZE = """
SELECT sum(pg_total_relation_size(oid))::float8
FROM pg_class
WHERE relnamespace = 'outlast'::regnamespace AND relkind = 'r'
"""


@dataclass(frozen=True)
class Demand:
    """Counts of a PostgreSQL so far, or between two moments."""

    seconds: float
    commits: float
    flushes: float
    wal_bytes: float
    cpu_s: float

    def since(self, before: "Demand") -> "Demand":
        return Demand(
            self.seconds - before.seconds,
            self.commits - before.commits,
            self.flushes - before.flushes,
            self.wal_bytes - before.wal_bytes,
            self.cpu_s - before.cpu_s,
        )

    def without(self, idle: "Demand") -> "Demand":
        """Less what would have been asked in that time anyhow."""
        share = self.seconds / idle.seconds
        return Demand(
            self.seconds,
            self.commits - idle.commits * share,
            self.flushes - idle.flushes * share,
            self.wal_bytes - idle.wal_bytes * share,
            self.cpu_s - idle.cpu_s * share,
        )


def measure(scale: Scale, folder: Path) -> list[Row]:
    """A burst over 32 connections, and runs that come one at a time, on one server and one worker."""
    with ExitStack() as stack:
        database = stack.enter_context(postgres())
        url = database.database()
        running = stack.enter_context(cluster(url, folder, workers=1))
        burst(running, scale.runs)
        before = _now(database, url)
        size = _size(url)
        idle = _now(database, url).since(before)
        before = _now(database, url)
        burst(running, scale.runs)
        many = _now(database, url).since(before).without(idle)
        size = _size(url) - size
        before = _now(database, url)
        _one_by_one(running)
        lone = _now(database, url).since(before).without(idle)
    return [
        *_rows("a run of a burst", many, scale.runs),
        Row("a run of a burst: tables and indexes, kB", {NAME: [size / scale.runs / 1000]}, digits=2),
        *_rows("a lone run", lone, _LONE),
    ]


def _rows(what: str, demand: Demand, runs: int) -> list[Row]:
    return [
        Row(f"{what}: transactions, reads included", {NAME: [demand.commits / runs]}, digits=2),
        Row(f"{what}: flushes of WAL", {NAME: [demand.flushes / runs]}, digits=2),
        Row(f"{what}: WAL, kB", {NAME: [demand.wal_bytes / runs / 1000]}, digits=2),
        Row(f"{what}: CPU of PostgreSQL, µs", {NAME: [1e6 * demand.cpu_s / runs]}),
    ]


def _one_by_one(running: Cluster) -> None:
    with Watcher(running) as watcher:
        for _ in range(_LONE):
            run_id, _ = watcher.submit()
            time.sleep(0.05)  # a look is a statement too
            watcher.until(run_id, "succeeded")


def _now(database: Postgres, url: str) -> Demand:
    time.sleep(_REPORTED_S)
    counts = asyncio.run(_ask(url, _COUNTS))
    return Demand(time.monotonic(), counts[0], counts[1], counts[2], postgres_cpu_s(database))


def _size(url: str) -> float:
    return asyncio.run(_ask(url, _SIZE))[0]


async def _ask(url: str, query: str) -> list[float]:
    link = await asyncpg.connect(url)
    try:
        row = await link.fetchrow(query)
        assert row is not None
        return list(row)
    finally:
        await link.close()
