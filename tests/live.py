"""A real `outlast serve`, as its operator would start it: its own process, port, folder and environment."""

import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

START_S = 45.0
PORTS = (18_000, 32_000)
"""Below those that a bind to port 0 or a connection gets on Linux; two processes hardly ever draw the same one."""
CHANCE = random.SystemRandom()  # the other is the same in every test that sets its seed
SERVE = ("outlast", "serve")
UVICORN = ("uvicorn", "outlast.app:create_app", "--factory")


class Live:
    """Start it with `start` (or as a context manager); `kill_tree` is `kill -9` of everything it started."""

    def __init__(
        self,
        root: Path,
        env: Mapping[str, str] | None = None,
        command: Sequence[str] = SERVE,
        *,
        starter: Sequence[str] = (),
    ) -> None:
        self.root = root
        self.data_dir = root / "data"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = root / "server.log"
        self.env = {**(env or {}), "OUTLAST_DATA_DIR": str(self.data_dir)}
        self._command = [*starter, sys.executable, "-m", *command, "--port", str(self.port)]
        self._process: subprocess.Popen[bytes] | None = None
        self.http = httpx.Client(base_url=self.url, timeout=30, trust_env=False)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> Self:
        """Start and wait until it answers on /ready."""
        clean = {key: os.environ[key] for key in ("PATH", "HOME", "LANG") if key in os.environ}
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                cwd=self.root,
                env={**clean, **self.env},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        wait_until(
            self.ready, START_S, lambda: f"the server to be ready; its log:\n{self.log.read_text()[-4000:]}"
        )
        return self

    def ready(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"the server ended:\n{self.log.read_text()[-4000:]}"
        try:
            return self.http.get("/ready").status_code == 200
        except httpx.TransportError:
            return False

    def kill_tree(self) -> None:
        """SIGKILL the server and everything below it, as a power cut would."""
        tree = [self.pid, *descendants(self.pid)]
        for pid in tree:
            _kill(pid, signal.SIGKILL)
        assert self._process is not None
        self._process.wait(10)

    def kill(self) -> None:
        """SIGKILL the server alone: what it started has to find out by itself."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(10)

    def signal(self) -> None:
        """SIGTERM, and nothing more."""
        assert self._process is not None
        self._process.terminate()

    def terminate(self, timeout_s: float = 30) -> int:
        """SIGTERM, and its exit code."""
        assert self._process is not None
        self._process.terminate()
        return self._process.wait(timeout_s)

    def submit(self, **body: object) -> str:
        """A run's id, once it is accepted."""
        answer = self.http.post("/api/v1/runs", json=body)
        assert answer.status_code == 202, answer.text
        job_id: str = answer.json()["job_id"]
        return job_id

    def status(self, job_id: str) -> dict[str, object]:
        answer = self.http.get(f"/api/v1/runs/{job_id}")
        assert answer.status_code == 200, answer.text
        found: dict[str, object] = answer.json()
        return found

    def ended(self, job_id: str) -> bool:
        return self.status(job_id)["status"] in ("succeeded", "failed", "cancelled")

    def wait_for_end(self, job_id: str, timeout_s: float = 30) -> dict[str, object]:
        """The status of the run once it has ended."""
        wait_until(lambda: self.ended(job_id), timeout_s, lambda: f"the end of {self.status(job_id)}")
        return self.status(job_id)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.http.close()
        if self._process is not None and self._process.poll() is None:
            self.kill_tree()


def wait_until(condition: Callable[[], bool], timeout_s: float, what: Callable[[], str]) -> None:
    """Poll until the condition holds; fail with what was waited for."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"waited {timeout_s} s for {what()}"
        time.sleep(0.02)


def descendants(pid: int) -> list[int]:
    """Every process below `pid`, by /proc."""
    children: dict[int, list[int]] = {}
    for child, parent in _parents():
        children.setdefault(parent, []).append(child)
    found, todo = [], [pid]
    while todo:
        below = children.get(todo.pop(), [])
        found += below
        todo += below
    return found


def _parents() -> Iterator[tuple[int, int]]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            yield int(entry.name), int(fields[1])


def processes_with(text: str) -> list[int]:
    """Processes whose environment has this text: what a run left behind."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if text.encode() in (entry / "environ").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


def free_port() -> int:
    """A port that is free now and given to nobody by chance, also while its server is down: the kernel gives others."""
    while True:
        port = CHANCE.randrange(*PORTS)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port


def _kill(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return
