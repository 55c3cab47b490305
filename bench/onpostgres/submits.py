"""Durable submits on PostgreSQL beside a bare app that commits to the same PostgreSQL."""

from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench import ceiling
from bench.bursts import Burst, burst, each
from bench.onpostgres.cluster import NAME, cluster, postgres, postgres_cpu_s
from bench.report import Bound, Row
from bench.server import Server
from bench.turns import Scale, in_turns, servers
from tests.postgres import Postgres

AT_WORK = f"{NAME}, a worker at work"
_CONNECTIONS = (32, 256)
_BOUND = Bound(ceiling.ON_POSTGRES, at_least=0.5)


@dataclass(frozen=True)
class Turn:
    """One burst, and what PostgreSQL had to do for it."""

    burst: Burst
    postgres_cpu_s: float


def measure(scale: Scale, folder: Path) -> list[Row]:
    """At 32 and at 256 connections; with no worker at all, and with one that takes the runs up at once."""
    with ExitStack() as stack:
        database = stack.enter_context(postgres())
        bare_recipe = ceiling.on_postgres(database.empty_database())
        (bare,) = stack.enter_context(servers([bare_recipe], folder))
        alone = stack.enter_context(cluster(database.database(), folder))
        with_worker = cluster(database.database(), folder, name=AT_WORK, workers=1)
        running = [alone, stack.enter_context(with_worker), bare]
        return [row for count in _CONNECTIONS for row in _rows(running, scale, database, count)]


def _rows(running: list[Server], scale: Scale, database: Postgres, connections: int) -> list[Row]:
    turns = in_turns(running, scale.rounds, partial(_turn, database, scale.runs, connections))
    what = f"submit over {connections} connections"
    return [
        *(_rate(what, turns, ours, scale.runs) for ours in (NAME, AT_WORK)),
        Row(
            f"{what} p50, ms",
            {name: [t.burst.load.percentile_ms(50) for t in some] for name, some in turns.items()},
            digits=1,
        ),
        Row(
            f"{what} p99, ms",
            {name: [t.burst.load.percentile_ms(99) for t in some] for name, some in turns.items()},
            digits=1,
        ),
        Row(
            f"{what}, CPU of PostgreSQL for each, µs",
            {
                name: [1e6 * t.postgres_cpu_s / scale.runs for t in turns[name]]
                for name in (NAME, ceiling.ON_POSTGRES)
            },
        ),
    ]


def _rate(what: str, turns: dict[str, list[Turn]], ours: str, runs: int) -> Row:
    two = {name: turns[name] for name in (ours, ceiling.ON_POSTGRES)}
    beside = ", a worker at work" if ours == AT_WORK else ""
    return Row(
        f"{what}, per second{beside}",
        {name: [t.burst.load.rate for t in some] for name, some in two.items()},
        (_BOUND,),
        per_cpu={name: each(runs, [t.burst.submit_cpu_s for t in some]) for name, some in two.items()},
    )


def _turn(database: Postgres, runs: int, connections: int, server: Server) -> Turn:
    cpu_s = postgres_cpu_s(database)
    done = burst(server, runs, connections=connections, to_the_end=server.name == AT_WORK)
    # A tick of the clock at least: that is how fine CPU is counted.
    return Turn(done, max(postgres_cpu_s(database) - cpu_s, 0.01))
