"""What is to be harmed: real servers, workers and a PostgreSQL, or one `outlast serve` on SQLite.

Like an operator's supervisor it starts again what has ended. Call it in one thread: what it starts dies with that.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.request import ProxyHandler, build_opener

from outlast.worker import marks
from tests.chaos.history import Ended, Left
from tests.live import descendants, free_port, processes_with
from tests.postgres import LAUNCH, Postgres, newest

LEASE_S = 3
PAUSE_S = 0.5
"""Before what has ended is started again."""
SETTINGS = {
    "OUTLAST_LEASE_S": str(LEASE_S),
    "OUTLAST_GRACE_S": "1",
    "OUTLAST_CONCURRENCY": "8",
}
AGENT = '''
import os
import time
import zlib

from outlast.runs import Progress


def work(prompt, run):
    """Say when it begins and ends; one in ten takes longer than a lease."""
    said("begin")
    chance = zlib.crc32(prompt.encode()) % 100
    for step in range(3):
        run.progress(Progress(percentage=30.0 * step, steps_completed=step, steps_total=3))
        run.log(f"step {step}")
        time.sleep(1.5 if chance < 10 else chance / 1000)
    said("end")
    return prompt


def said(word):
    line = f"{time.monotonic()} {word} {os.environ['OUTLAST_RUN_ID']} {os.environ['OUTLAST_ATTEMPT']}\\n"
    file = os.open(STORY, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(file, line.encode())
    os.close(file)
'''


class Member:
    """A process of ours, one after another under the same name and port."""

    def __init__(self, name: str, words: Sequence[str], root: Path, env: Mapping[str, str]) -> None:
        self.name = name
        self.log = root / f"{name}.log"
        self.is_down = True
        """Whether it is meant not to run."""
        self.is_told = False
        """Whether the present process has been killed, or told to end."""
        self._words = [sys.executable, "-S", "-c", LAUNCH, "", sys.executable, "-m", "outlast", *words]
        self._root = root
        self._env = env
        self._process: subprocess.Popen[bytes] | None = None
        self._started_at = 0.0
        self._ended_at = 0.0

    def start(self) -> None:
        self.is_down = self.is_told = False
        self._started_at, self._ended_at = time.monotonic(), 0.0
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._words,
                cwd=self._root,
                env={**self._env},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    @property
    def is_alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def tree(self) -> list[int]:
        """It and all below it; empty when it does not run."""
        return [self.pid, *descendants(self.pid)] if self.is_alive else []

    def signal(self, number: signal.Signals, *, tree: bool = False) -> None:
        """To the process, or to all of its tree as it is now."""
        if number in (signal.SIGKILL, signal.SIGTERM):
            self.is_told = True
        for pid in self.tree() if tree else self.tree()[:1]:
            send(pid, number)

    def look(self) -> Ended | None:
        """Start it again if it has ended and should run; what there is to say of its end."""
        if self.is_down or self.is_alive or self._process is None:
            return None
        now = time.monotonic()
        if not self._ended_at:
            self._ended_at = now
            code, age_s = self._process.returncode, now - self._started_at
            return None if self.is_told else Ended(at=now, target=self.name, code=code, age_s=age_s)
        if now > self._ended_at + PAUSE_S:
            self.start()
        return None

    def stop(self) -> None:
        """SIGTERM, and SIGKILL to all of it if it does not obey."""
        self.is_down = True
        if self._process is None:
            return
        tree = self.tree()
        for pid in tree:
            send(pid, signal.SIGCONT)
        self.signal(signal.SIGTERM)
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            for pid in tree:
                send(pid, signal.SIGKILL)
            self._process.wait(10)


class Fleet:
    """Make it, `start` it, and `close` it whatever happened."""

    def __init__(self, root: Path, store: str, servers: int = 2, workers: int = 3) -> None:
        self.root = root
        self.story = root / "story"
        (root / "chaos_agent.py").write_text(AGENT.replace("STORY", repr(str(self.story))))
        (root / "outlast.toml").write_text('[agents.work]\nfunction = "chaos_agent:work"\n')
        self.postgres = Postgres(newest()) if store == "postgres" else None
        self.ports = [free_port() for _ in range(servers if self.postgres else 1)]
        self.servers: list[Member] = []
        self.workers: list[Member] = []
        self._workers = workers
        self._database = ""

    @property
    def urls(self) -> list[str]:
        return [f"http://127.0.0.1:{port}" for port in self.ports]

    @property
    def members(self) -> list[Member]:
        return [*self.servers, *self.workers]

    def start(self) -> None:
        """Start everything and wait until every server is ready."""
        only = []
        if self.postgres is not None:
            self._database = self.postgres.start().database()
            only = ["--no-worker"]
            self.workers = [self._member(f"worker{n}", ["worker"]) for n in range(self._workers)]
        for n, port in enumerate(self.ports):
            self.servers.append(self._member(f"server{n}", ["serve", *only, "--port", str(port)]))
        for member in self.members:
            member.start()
        self.wait_until_ready()

    def _member(self, name: str, words: Sequence[str]) -> Member:
        env = {key: os.environ[key] for key in ("PATH", "HOME", "LANG") if key in os.environ}
        env |= {**SETTINGS, "OUTLAST_DATA_DIR": str(self.root / f"{name}-data")}
        if self._database:
            env["OUTLAST_DATABASE_URL"] = self._database
        return Member(name, words, self.root, env)

    def wait_until_ready(self, timeout_s: float = 60) -> None:
        """Until each server says so; whatever ends meanwhile is started again."""
        deadline = time.monotonic() + timeout_s
        while not all(_is_ready(url) for url in self.urls):
            assert time.monotonic() < deadline, f"no server is ready; logs are in {self.root}"
            self.look()
            time.sleep(0.1)

    def serves(self) -> bool:
        """Whether any server is ready."""
        return any(_is_ready(url, 0.3) for url in self.urls)

    def look(self) -> list[Ended]:
        """Start what has ended; what of it nobody had harmed."""
        return [ended for member in self.members if (ended := member.look()) is not None]

    def restart_servers(self) -> None:
        """End every server in order and start it anew."""
        for server in self.servers:
            server.stop()
            server.start()
        self.wait_until_ready()

    def close(self) -> list[Left]:
        """End everything; what is left of it has been killed too, and is told."""
        for member in self.members:
            member.stop()
        left = self._left()
        for process in left:
            send(process.pid, signal.SIGKILL)
        if self.postgres is not None:
            shutil.copy(self.postgres.log, self.root / "postgres.log")
            self.postgres.remove()
        return left

    def _left(self) -> list[Left]:
        """Processes that bear the name of our folder, or a worker's mark, a moment after all have ended."""
        deadline = time.monotonic() + 5
        while (pids := self._bearers()) and time.monotonic() < deadline:
            time.sleep(0.1)
        return [Left(at=time.monotonic(), pid=pid, name=name_of(pid)) for pid in pids]

    def _bearers(self) -> list[int]:
        found = set(processes_with(str(self.root)))
        for folder in [*self.root.glob("*-data"), *self.root.glob("*-data/*/")]:
            mark = marks.folder_id(folder)
            found |= {int(entry.name) for entry in Path("/proc").glob("[0-9]*") if _bears(entry, mark)}
        return sorted(found - {os.getpid()})


def _bears(entry: Path, mark: str) -> bool:
    return marks.bears(int(entry.name), mark)


def _is_ready(url: str, timeout_s: float = 2) -> bool:
    try:
        with build_opener(ProxyHandler({})).open(f"{url}/ready", timeout=timeout_s) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def send(pid: int, number: signal.Signals) -> None:
    """A signal, unless the process is gone."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def name_of(pid: int) -> str:
    """What the process calls itself, or nothing if it is gone."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""
