"""Many machines on one: servers without workers, workers, a PostgreSQL and a scripted provider, each a process.

Each has a folder and a log of its own; workers know nothing of each other. Whatever a test breaks it mends itself or
leaves to `mend`, which ends with everything running and nothing left to do.
"""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import asyncpg
import httpx

from outlast.worker import marks, processes
from tests import invariants
from tests.agents import rude, steady
from tests.live import Live, descendants, wait_until
from tests.postgres import Postgres
from tests.provider import Asked, Provider, Say

LEASE_S = 3.0
TAKEOVER_S = LEASE_S + 1.0
"""Promised: so long after a worker's death its runs have started elsewhere."""
SLACK_S = 3.0
"""What a busy machine may add to a promise, in tests."""
HELD = Say(text="One two three.", hold_after=1)
"""An answer that begins and does not go on."""
NO_WORKER = ("outlast", "serve", "--no-worker")
END = ("succeeded", "failed", "cancelled")


class Worker:
    """`outlast worker` as a process on a machine of its own: its folder is nobody else's."""

    def __init__(self, root: Path, name: str, env: Mapping[str, str], starter: Sequence[str] = ()) -> None:
        self.name = name
        self.root = root
        self.data_dir = root / name
        self.log = root / f"{name}.log"
        self._env = {**env, "OUTLAST_DATA_DIR": str(self.data_dir)}
        self._starter = starter
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        clean = {key: os.environ[key] for key in ("PATH", "HOME", "LANG") if key in os.environ}
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*self._starter, sys.executable, "-m", "outlast", "worker", "--name", self.name],
                cwd=self.root,
                env={**clean, **self._env},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def send(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def kill(self) -> float:
        """`kill -9` of the worker alone; when that was, on `time.monotonic`."""
        assert self._process is not None
        killed_at = time.monotonic()
        self._process.kill()
        self._process.wait(10)
        return killed_at

    def terminate(self, timeout_s: float = 30) -> int:
        """SIGTERM, and its exit code."""
        assert self._process is not None
        self._process.terminate()
        return self._process.wait(timeout_s)

    def remove(self) -> None:
        """Kill it and everything below it, also if it is stopped."""
        if self.is_alive:
            tree = [self.pid, *descendants(self.pid)]
            for pid in tree:
                _signal(pid, signal.SIGKILL)
            assert self._process is not None
            self._process.wait(10)

    def agents(self) -> set[int]:
        """The processes that its agents have."""
        folders = [marks.folder_id(seat) for seat in self.data_dir.glob("worker-*")]
        pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
        found = {pid for pid in pids if any(marks.bears(pid, folder) for folder in folders)}
        found = {pid for pid in found if not processes.is_dead(pid)}
        return {pid for pid in found if _name(pid) not in ("outlast-host", "outlast-forks")}


class Fleet:
    """Make it, `start` it; `servers` are two, `workers` as many as asked for."""

    def __init__(
        self,
        root: Path,
        database: Postgres,
        provider: Provider,
        *,
        servers: int = 2,
        workers: int = 2,
        url: str | None = None,
        **settings: object,
    ) -> None:
        agents = [f'[agents.{name}]\nfunction = "rude:{name}"\n' for name in rude.AGENTS]
        agents += [f'[agents.{name}]\nfunction = "steady:{name}"\n' for name in steady.AGENTS]
        (root / "outlast.toml").write_text("".join(agents))
        self.database = database
        self.url = url or database.database()
        self.provider = provider
        self.env = {
            "OUTLAST_DATABASE_URL": self.url,
            "OPENAI_BASE_URL": provider.base_url,
            "OPENAI_API_KEY": provider.key,
            "OUTLAST_MODEL": "m",
            "OUTLAST_AGENT_ROOT": str(Path(rude.__file__).parent),
            "OUTLAST_LEASE_S": str(LEASE_S),
            "OUTLAST_GRACE_S": "0.5",
            "OUTLAST_STOP_GRACE_S": "0.3",
            **{f"OUTLAST_{name.upper()}": str(value) for name, value in settings.items()},
        }
        self.servers = [self._server(root, f"server-{n}") for n in range(servers)]
        self.workers = [Worker(root, f"worker-{n}", self.env) for n in range(workers)]

    def _server(self, root: Path, name: str) -> Live:
        folder = root / name
        folder.mkdir()
        (folder / "outlast.toml").symlink_to(root / "outlast.toml")
        return Live(folder, self.env, NO_WORKER)

    def start(self) -> None:
        for worker in self.workers:
            worker.start()
        for server in self.servers:
            server.start()
        self.until_working()

    def until_working(self) -> None:
        """Until each worker that runs holds a lease."""
        wait_until(
            lambda: {worker.name for worker in self.workers if worker.is_alive} <= self.working(),
            40,
            lambda: f"the workers to work; {self.working()} do:\n{self.logs()}",
        )

    def working(self) -> set[str]:
        """The names of the workers that hold a lease."""
        rows = self.fetch(
            "SELECT convert_from(card, 'UTF8')::json->>'name' FROM outlast.workers "
            "WHERE lost_at IS NULL AND lease_until > outlast.outlast_now()"
        )
        return {str(row[0]) for row in rows}

    def holder(self, job_id: str) -> Worker | None:
        """The worker that has the run now, or had it last."""
        rows = self.fetch(
            "SELECT convert_from(card, 'UTF8')::json->>'name' FROM outlast.workers WHERE id = coalesce("
            "(SELECT worker_id FROM outlast.runs WHERE id = $1), "
            "(SELECT worker_id FROM outlast.attempts WHERE run_id = $1 ORDER BY number DESC LIMIT 1))",
            job_id,
        )
        names = {worker.name: worker for worker in self.workers}
        return names.get(str(rows[0][0])) if rows else None

    def fetch(self, query: str, *values: object) -> Sequence[asyncpg.Record]:
        """What the database says, asked past everything of ours."""
        return fetch(self.url, query, *values)

    def logs(self) -> str:
        files = [*(worker.log for worker in self.workers), *(server.log for server in self.servers)]
        return "\n".join(
            f"--- {file.name} of {file.parent.name}:\n{file.read_text()[-1500:]}"
            for file in files
            if file.exists()
        )

    def calls(self, prompt: str) -> list[Asked]:
        """The calls that reached the provider for this prompt."""
        return [asked for asked in self.provider.asked if prompt in asked.body.decode()]

    def submit(self, agent: str | None, prompt: str, server: int = 0, **more: object) -> str:
        """A run of this agent, or of the bare prompt in a shared host."""
        return self.servers[server].submit(prompt=prompt, **({"agent": agent} if agent else {}), **more)

    def running(self, agent: str | None, prompt: str) -> tuple[str, Worker]:
        """A run that has begun, and who has it: its agent has spoken, or has called its model."""
        job_id = self.submit(agent, prompt)
        self.until(lambda: self._has_begun(job_id, prompt), 30, f"{agent} to begin")
        worker = self.holder(job_id)
        assert worker is not None
        return job_id, worker

    def held_by(self, worker: Worker, prompt: str, agent: str | None = None) -> str:
        """A run that this worker has: the others stand still until it has begun."""
        others = [other for other in self.workers if other is not worker]
        for other in others:
            other.send(signal.SIGSTOP)
        job_id, holder = self.running(agent, prompt)
        for other in others:
            other.send(signal.SIGCONT)
        assert holder is worker
        return job_id

    def _has_begun(self, job_id: str, prompt: str) -> bool:
        if any(asked.pieces for asked in self.calls(prompt)):
            return True
        rows = self.fetch(
            "SELECT 1 FROM outlast.events WHERE run_id = $1 AND kind IN ('log', 'progress')", job_id
        )
        return bool(rows)

    def until(self, condition: Callable[[], bool], timeout_s: float, what: str) -> float:
        """Wait for it, and when it was there, on `time.monotonic`; what failed comes with the logs."""
        wait_until(condition, timeout_s, lambda: f"{what}\n{self.logs()}")
        return time.monotonic()

    def attempt(self, job_id: str) -> int:
        rows = self.fetch("SELECT attempt FROM outlast.runs WHERE id = $1", job_id)
        return int(rows[0][0])

    def ended(self, job_id: str, timeout_s: float = 30) -> dict[str, object]:
        """The status of the run once it has ended, from the server that did not take it in."""
        server = self.servers[-1]
        wait_until(
            lambda: server.ended(job_id),
            timeout_s,
            lambda: f"the end of {server.status(job_id)}\n{self.history(job_id)}\n{self.logs()}",
        )
        return server.status(job_id)

    def history(self, job_id: str) -> str:
        """What its events say, and who has it."""
        rows = self.fetch(
            "SELECT seq, at, kind, data FROM outlast.events WHERE run_id = $1 ORDER BY seq", job_id
        )
        holder = self.holder(job_id)
        return "\n".join([f"held by {holder and holder.name}", *(str(tuple(row)) for row in rows[-20:])])

    def result(self, job_id: str) -> object:
        answer = self.servers[-1].http.get(f"/api/v1/runs/{job_id}/result")
        assert answer.status_code == 200, answer.text
        return answer.json()["result"]

    def mend(self) -> None:
        """Let everything run again, end what is left, and check every promise."""
        self.database.resume()
        for worker in self.workers:
            if worker.is_alive:
                worker.send(signal.SIGCONT)
            else:
                worker.start()
        for server in self.servers:
            if not server.is_alive:
                server.start()
        self.until_working()
        self._clear()
        asyncio.run(invariants.check_database(self.url))

    def _clear(self) -> None:
        for status in ("queued", "running"):
            jobs = (
                self.servers[0]
                .http.get("/api/v1/runs", params={"status": status, "page_size": 100})
                .json()["jobs"]
            )
            for job in jobs:
                self.servers[0].http.post(f"/api/v1/runs/{job['job_id']}/cancel")
        self.until(lambda: not any(worker.agents() for worker in self.workers), 15, "all agents to be gone")

    def close(self) -> None:
        self.database.resume()
        for worker in self.workers:
            worker.remove()
        for server in self.servers:
            server.__exit__(None, None, None)


@contextmanager
def fleet(
    root: Path, database: Postgres, *, servers: int = 2, workers: int = 2, **settings: str | int
) -> Iterator[Fleet]:
    """All of them running; every first answer to a prompt is held back, every later one is given."""
    with Provider() as provider:
        seen: set[bytes] = set()

        def answer(asked: Asked) -> Say:
            is_first = asked.body not in seen
            seen.add(asked.body)
            return HELD if is_first and b"Hold" in asked.body else Say()

        provider.answer = answer
        ours = Fleet(root, database, provider, servers=servers, workers=workers, url=None, **settings)
        try:
            ours.start()
            yield ours
        finally:
            ours.close()


def get(server: Live, path: str) -> httpx.Response | None:
    """The answer, null if there was none."""
    try:
        return server.http.get(path)
    except httpx.TransportError:
        return None


def fetch(url: str, query: str, *values: object) -> Sequence[asyncpg.Record]:
    """What a database says."""
    return asyncio.run(_fetch(url, query, *values))


async def _fetch(url: str, query: str, *values: object) -> Sequence[asyncpg.Record]:
    link = await asyncpg.connect(url, timeout=10)
    try:
        found: Sequence[asyncpg.Record] = await link.fetch(query, *values)
    finally:
        await link.close()
    return found


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return
