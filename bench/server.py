"""A server under measurement: started, watched from outside through /proc, and ended with all that it started."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.load import get, post

_TICKS = os.sysconf("SC_CLK_TCK")
_START_S = 60.0
_STOP_S = 20.0
_LOOK_S = 0.25
_LOG = "server.log"
_IDLE = 0.1
"""A server that takes less of a core than this is idle."""


class NotHealthy(Exception):
    """A server did not come up; its own words are in the message."""


@dataclass(frozen=True)
class Recipe:
    """How to start one kind of server: `{port}` and `{data}` in the command are filled in."""

    name: str
    command: Sequence[str]
    body: bytes
    """What to submit."""
    env: Mapping[str, str] = field(default_factory=dict)
    prepare: Callable[[Path], None] = lambda data: None
    """What to do in the data folder before the start."""

    @property
    def submit(self) -> bytes:
        """A submit as bytes on the wire."""
        return post("/api/v1/runs", self.body)


@dataclass
class Server:
    """A running server."""

    recipe: Recipe
    port: int
    process: subprocess.Popen[bytes]
    healthy_s: float = 0.0
    """From the start of its process to the first good answer of /health."""

    @property
    def name(self) -> str:
        return self.recipe.name

    def cpu_s(self) -> float:
        """CPU seconds of the whole tree so far, those of its reaped children included."""
        return tree_cpu_s(self.process.pid)

    def carries(self, pid: int) -> bool:
        """Whether that process is one of its tree."""
        return pid in _tree(self.process.pid)

    def settle(self, timeout_s: float = 20.0) -> None:
        """Wait until it does nothing any more: a server may be healthy and still load what its first run needs."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            used_s = self.cpu_s()
            time.sleep(_LOOK_S)
            if self.cpu_s() - used_s < _LOOK_S * _IDLE:
                return

    def rss_mb(self) -> float:
        """Resident memory of the server process alone."""
        return _kilobytes(Path(f"/proc/{self.process.pid}/status"), "VmRSS:") / 1000

    def tree_pss_mb(self) -> float:
        """Memory of the whole tree, shared pages counted once."""
        files = (Path(f"/proc/{pid}/smaps_rollup") for pid in _tree(self.process.pid))
        return sum(_kilobytes(file, "Pss:") for file in files) / 1000

    def stop(self) -> None:
        """End it, and whatever of its tree is left after its grace."""
        tree = {pid: _started(pid) for pid in _tree(self.process.pid)}
        self.process.terminate()
        try:
            self.process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        _sweep(tree)

    def kill(self) -> int:
        """SIGKILL of its first process; when that was (monotonic, ns). The rest of its tree is given a second."""
        tree = {pid: _started(pid) for pid in _tree(self.process.pid)}
        at = time.monotonic_ns()
        self.process.kill()
        self.process.wait()
        time.sleep(1.0)
        _sweep(tree)
        return at


def _sweep(tree: Mapping[int, str | None]) -> None:
    """SIGKILL of what is left of them, and of nobody who has got such a pid since."""
    for pid, started in tree.items():
        if started is not None and _started(pid) == started:
            _kill(pid)


def start(recipe: Recipe, data: Path) -> Server:
    """Start a server and wait until it is healthy."""
    began = time.monotonic()
    server = launch(recipe, data)
    while not _is_healthy(server.port):
        if server.process.poll() is not None or time.monotonic() - began > _START_S:
            server.stop()
            said = (data / _LOG).read_text(errors="replace")[-2000:]
            raise NotHealthy(f"{recipe.name} did not start: {said}")
        time.sleep(0.005)
    server.healthy_s = time.monotonic() - began
    return server


def launch(recipe: Recipe, data: Path) -> Server:
    """Start it, and wait for nothing."""
    recipe.prepare(data)
    port = _free_port()
    words = [word.format(port=port, data=data) for word in recipe.command]
    env = {**os.environ, **{name: text.format(data=data) for name, text in recipe.env.items()}}
    with (data / _LOG).open("wb") as out:
        process = subprocess.Popen(words, env=env, cwd=data, stdout=out, stderr=subprocess.STDOUT)
    return Server(recipe, port, process)


def tree_cpu_s(root: int) -> float:
    """CPU seconds so far of a process and its descendants, those of reaped children included."""
    return sum(_cpu_ticks(pid) for pid in _tree(root)) / _TICKS


def _is_healthy(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5.0) as connection:
            connection.sendall(get("/health"))
            return connection.recv(64).startswith(b"HTTP/1.1 200")
    except OSError:
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _tree(root: int) -> list[int]:
    """The process and all its descendants."""
    children: dict[int, list[int]] = {}
    for pid, fields in _processes():
        children.setdefault(int(fields[1]), []).append(pid)
    tree = [root]
    for pid in tree:
        tree.extend(children.get(pid, ()))
    return tree


def _processes() -> Iterator[tuple[int, list[str]]]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (fields := _stat(int(entry.name))):
            yield int(entry.name), fields


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat from the state on; None when the process is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None


def _cpu_ticks(pid: int) -> int:
    fields = _stat(pid)
    return sum(map(int, fields[11:15])) if fields else 0


def _started(pid: int) -> str | None:
    """When the process started: a pid with another start is another process."""
    fields = _stat(pid)
    return fields[19] if fields else None


def _kilobytes(path: Path, name: str) -> int:
    try:
        lines = path.read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith(name)), 0)


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
