"""Where agents on frameworks are run and killed: a real server, its worker, and the provider of the clerks.

A `Stage` is `outlast serve` alone, on SQLite, with the worker beside it; a `FarStage` is `outlast serve --no-worker`
and an `outlast worker`, on PostgreSQL. Both know how to kill the whole worker, and a run's processes.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from tests import invariants
from tests.faults.fleet import NO_WORKER, Worker
from tests.frameworks.clerk import Clerks
from tests.live import SERVE, Live, descendants, processes_with
from tests.postgres import Postgres
from tests.provider import Provider

LEASE_S = 2
EXAMPLES = Path(__file__).parents[2] / "examples" / "frameworks"
DEADLINE_S = 120.0
"""For each step of a run, on a busy machine: imports of a framework take the longest."""


class Clerk(msgspec.Struct, frozen=True):
    """An agent on a framework: which example it is, and how it is told to talk to the model."""

    script: str
    words: tuple[str, ...] = ()
    """`stream`, and the endpoint if it is not the framework's own choice."""
    environment: str = "frameworks"

    @property
    def name(self) -> str:
        return "-".join((self.script.removesuffix("_agent").replace("_", "-"), *self.words))

    @property
    def is_installed(self) -> bool:
        return self._python.exists()

    def table(self) -> str:
        """Its lines in outlast.toml."""
        command = [str(self._python), str(EXAMPLES / f"{self.script}.py"), *self.words]
        return f"[agents.{self.name}]\ncommand = {msgspec.json.encode(command).decode()}\n"

    @property
    def _python(self) -> Path:
        return Path(sys.prefix) / self.environment / "bin" / "python"


class Stage:
    """A server on SQLite with a worker of its own; enter `standing` to have one."""

    def __init__(self, root: Path, clerks: Clerks, agents: Sequence[Clerk], url: str | None) -> None:
        (root / "home").mkdir()
        (root / "outlast.toml").write_text("".join(agent.table() for agent in agents))
        self.clerks = clerks
        self.env = {
            "HOME": str(root / "home"),
            "OPENAI_BASE_URL": clerks.provider.base_url,
            "OPENAI_API_KEY": clerks.provider.key,
            "OUTLAST_MODEL": "m",
            "OUTLAST_LEASE_S": str(LEASE_S),
            "OUTLAST_CONCURRENCY": "20",
            **({} if url is None else {"OUTLAST_DATABASE_URL": url}),
        }
        self.live = Live(root, self.env, SERVE if url is None else NO_WORKER)

    def start(self) -> None:
        self.live.start()

    def kill_worker(self) -> None:
        """SIGKILL the worker, its fork server and all agents; another one is started."""
        worker = descendants(self.live.pid)[0]
        _kill([worker, *descendants(worker)], signal.SIGKILL)

    def kill_server(self) -> None:
        """SIGKILL everything there is, and start it again."""
        self.live.kill_tree()
        self.live.start()

    def freeze(self, run_id: str) -> None:
        """Let a run's processes stand still; what they asked for goes on."""
        _kill(self.processes(run_id), signal.SIGSTOP)

    def kill(self, run_id: str) -> None:
        """SIGKILL all processes of a run's agent, at once."""
        _kill(self.processes(run_id), signal.SIGKILL)

    def processes(self, run_id: str) -> list[int]:
        """The program and its keeper, and whatever they have started."""
        programs = processes_with(f"OUTLAST_RUN_ID={run_id}\0")
        marks = {mark for pid in programs if (mark := _mark(pid)) is not None}
        return sorted({pid for mark in marks for pid in processes_with(mark)})

    def logs(self) -> str:
        return self.live.log.read_text()[-6000:]

    def close(self) -> None:
        """Stop it as an operator would, and check every promise."""
        assert self.live.terminate() == 0
        invariants.check(self.live.data_dir / "outlast.db")

    def abandon(self) -> None:
        """End whatever is left."""
        self.live.__exit__(None, None, None)


class FarStage(Stage):
    """A server without a worker and a worker of its own, on PostgreSQL."""

    def __init__(self, root: Path, clerks: Clerks, agents: Sequence[Clerk], url: str) -> None:
        super().__init__(root, clerks, agents, url)
        self._url = url
        self._worker = Worker(root, "worker", self.env)

    def start(self) -> None:
        super().start()
        self._worker.start()

    def kill_worker(self) -> None:
        self._worker.remove()
        self._worker.start()

    def kill_server(self) -> None:
        self.live.kill_tree()
        self._worker.remove()
        self.live.start()
        self._worker.start()

    def logs(self) -> str:
        return super().logs() + self._worker.log.read_text()[-6000:]

    def close(self) -> None:
        assert self._worker.terminate() == 0
        assert self.live.terminate() == 0
        asyncio.run(invariants.check_database(self._url))

    def abandon(self) -> None:
        self._worker.remove()
        super().abandon()


@contextmanager
def standing(
    root: Path, agents: Sequence[Clerk], database: Postgres | None = None, latency_s: float = 0.15
) -> Iterator[Stage]:
    """A stage with everything started, and nothing left of it at the end; `close` it to have its promises checked."""
    missing = [agent.name for agent in agents if not agent.is_installed]
    assert not missing, (
        f"{missing} cannot run here: `make setup` installs most frameworks, `make frameworks` all"
    )
    with Provider() as provider:
        clerks = Clerks(provider, latency_s)
        if database is None:
            stage = Stage(root, clerks, agents, None)
        else:
            stage = FarStage(root, clerks, agents, database.database())
        try:
            stage.start()
            yield stage
        finally:
            stage.abandon()


def _mark(pid: int) -> str | None:
    """What the process and all of its attempt wear."""
    try:
        block = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return None
    return next((entry.decode() for entry in block if entry.startswith(b"OUTLAST_MARK=")), None)


def _kill(pids: Sequence[int], number: signal.Signals) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue  # it was quicker
