"""No-op runs on PostgreSQL, submitted over HTTP and carried out by a worker, beside PraisonAI's stores."""

from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench import peer
from bench.bursts import Burst, burst, each
from bench.onpostgres.cluster import NAME, cluster, postgres, postgres_cpu_s
from bench.report import Bound, Row
from bench.server import Server
from bench.turns import Scale, in_turns, servers
from tests.postgres import Postgres

_PEERS = (peer.MEMORY, peer.SQLITE)
_BOUNDS = (Bound(peer.MEMORY, at_least=2), Bound(peer.SQLITE, at_least=8))


@dataclass(frozen=True)
class Turn:
    """One burst of runs to its end."""

    burst: Burst
    cpu_s: float
    """Of the processes of the server, and of PostgreSQL where it is ours."""


def measure(scale: Scale, folder: Path) -> list[Row]:
    """For each CPU second of server and worker, then with PostgreSQL counted in, then by the clock."""
    with ExitStack() as stack:
        database = stack.enter_context(postgres())
        peers = stack.enter_context(servers([peer.in_memory(), peer.on_sqlite()], folder))
        running = [stack.enter_context(cluster(database.database(), folder, workers=1)), *peers]
        turns = in_turns(running, scale.rounds, partial(_turn, database, scale.runs))
    n = scale.runs
    trees = {name: each(n, [t.burst.done_cpu_s for t in some]) for name, some in turns.items()}
    return [
        Row("no-op runs for a CPU second of server and worker", trees, _BOUNDS),
        Row(
            "no-op runs for a CPU second, PostgreSQL counted in",
            {name: each(n, [t.cpu_s for t in some]) for name, some in turns.items()},
        ),
        Row(
            "no-op runs end to end, per second",
            {name: [n / t.burst.done_s for t in some] for name, some in turns.items()},
        ),
    ]


def _turn(database: Postgres, runs: int, server: Server) -> Turn:
    cpu_s = postgres_cpu_s(database)
    done = burst(server, runs)
    more_s = postgres_cpu_s(database) - cpu_s if server.name == NAME else 0.0
    return Turn(done, done.done_cpu_s + more_s)
