"""Servers and workers on one database, started as users start them, and the PostgreSQL below them."""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from bench import ours
from bench.server import Recipe, Server, launch, start, tree_cpu_s
from tests.postgres import Postgres, newest

NAME = "Outlast on PostgreSQL"
_ON_DISK = Path("/var/tmp")
_SETTINGS = {"fsync": "on", "shared_buffers": "128MB", "autovacuum_naptime": "1min"}
"""PostgreSQL's own defaults, where the tests have others."""


@contextmanager
def postgres() -> Iterator[Postgres]:
    """A server on disk, whose commits are as durable as it makes them by default; gone afterwards."""
    with Postgres(newest(), _SETTINGS, _ON_DISK) as server:
        yield server


def postgres_cpu_s(server: Postgres) -> float:
    """CPU seconds of all its processes so far."""
    return tree_cpu_s(server.pid)


@dataclass
class Cluster(Server):
    """Asked at its first server; its CPU is that of all its servers and workers."""

    folder: Path = Path()
    servers: list[Server] = field(default_factory=list)
    """All but the first."""
    workers: list[Server] = field(default_factory=list)

    def cpu_s(self) -> float:
        return super().cpu_s() + sum(one.cpu_s() for one in (*self.servers, *self.workers))

    def stop(self) -> None:
        for one in (*self.workers, *self.servers):
            one.stop()
        super().stop()

    def add_worker(self) -> None:
        """One more; it may take a second or two until it claims."""
        recipe = self.recipe
        command = [*recipe.command[: recipe.command.index("serve")], "worker", "--data-dir", "{data}/seat"]
        self.workers.append(launch(replace(recipe, name="worker", command=command), _own(self.folder)))


@contextmanager
def cluster(
    url: str,
    folder: Path,
    *,
    name: str = NAME,
    servers: int = 1,
    workers: int = 0,
    stamps: bool = False,
    env: Mapping[str, str] | None = None,
) -> Iterator[Cluster]:
    """All of them running and settled; none afterwards. With `stamps`, `echo` says when it began."""
    with ExitStack() as stack:
        data = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=folder)))
        recipe = _recipe(name, url, stamps, env or {})
        first = start(recipe, _own(data))
        running = Cluster(first.recipe, first.port, first.process, first.healthy_s, data)
        stack.callback(running.stop)
        for _ in range(servers - 1):
            running.servers.append(start(recipe, _own(data)))
        for _ in range(workers):
            running.add_worker()
        running.settle()
        yield running


def _recipe(name: str, url: str, stamps: bool, env: Mapping[str, str]) -> Recipe:
    recipe = ours.stamping() if stamps else ours.echoing()
    named = {**recipe.env, "OUTLAST_DATABASE_URL": url, "OUTLAST_GRACE_S": "1", **env}
    return replace(recipe, name=name, command=[*recipe.command, "--no-worker"], env=named)


def _own(folder: Path) -> Path:
    return Path(tempfile.mkdtemp(dir=folder))
