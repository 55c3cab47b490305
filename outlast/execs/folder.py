"""The folders of `outlast exec`, `<data-dir>/exec/<run_id>`: a store each, looked at also while it is used.

A folder bears the name of its first run. A run that has ended and is resumed gets a successor in the same folder, and
the newest one is meant by any of their ids.
"""

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from outlast.clock import Clock
from outlast.errors import ConfigError, RunNotFound, StoreOwned
from outlast.runs import FINAL, Program, RunRequest, RunState
from outlast.store.sqlite import SqliteSight

_NEWEST = """
SELECT id, state, attempt, created_at, started_at, finished_at, error_code, error_message, model_calls, input_tokens,
       output_tokens, request
FROM runs ORDER BY id DESC LIMIT 1
"""
_KNOWN = "SELECT 1 FROM runs WHERE id = ?1"
_LOG = "SELECT seq, data FROM events WHERE run_id = ?1 AND seq > ?2 AND kind = 'log' ORDER BY seq"


class Seen(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where a program's run is, as it was a moment ago."""

    run_id: str
    status: str
    """As a run's; `interrupted` if it has not ended and nobody carries it out: `--resume` goes on with it."""
    attempt: int
    created_at: int
    started_at: int | None = None
    finished_at: int | None = None
    pid: int | None = None
    """The process that carries it out."""
    error: str | None = None
    error_code: str | None = None
    model_calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    argv: tuple[str, ...] = ()
    cwd: str | None = None
    folder: str

    @property
    def has_ended(self) -> bool:
        return self.status in FINAL


class Folder:
    """One of them."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def output(self) -> Path:
        """What a detached program prints, and what is said about it."""
        return self.path / "output.log"

    @property
    def log(self) -> Path:
        """What Outlast itself has to say."""
        return self.path / "outlast.log"

    def sign(self) -> None:
        """Whoever owns the store says who they are."""
        (self.path / "pid").write_text(str(os.getpid()))

    def require(self, run_id: str) -> None:
        """`ConfigError` if it has been removed: nothing of the run can be kept any more."""
        if not (self.path / "outlast.db").exists():
            raise ConfigError(
                f"The folder of {run_id}, {self.path}, was removed while it ran: it is ended, and cannot be resumed."
            )

    def owner(self) -> int | None:
        """The process that carries the run out, null if none does; 0 if it has not said who it is."""
        try:
            lock = os.open(self.path / "outlast.lock", os.O_RDWR)
        except OSError:
            return None
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return self._signature(os.fstat(lock).st_ino)
        finally:
            os.close(lock)
        return None

    def is_taken(self) -> StoreOwned:
        """What to raise when another process carries it out."""
        return StoreOwned(f"Run {self.path.name} is running, pid {self.owner() or 'unknown'}.")

    def _signature(self, inode: int) -> int:
        """The last one; 0 if it is that of an owner before, whose number may be another process's by now."""
        try:
            pid = int((self.path / "pid").read_text())
        except (OSError, ValueError):
            return 0
        return pid if _has_lock(pid, inode) else 0

    async def look(self, clock: Clock) -> Seen | None:
        """The newest run; null if there is none, for it was never handed in."""
        owner = self.owner()
        async with SqliteSight(self.path, clock).look() as snapshot:
            rows = await snapshot.rows(_NEWEST)
        return self._seen(rows[0], owner) if rows else None

    def _seen(self, row: tuple[object, ...], owner: int | None) -> Seen:
        *known, request = row
        names = (
            "run_id", "status", "attempt", "created_at", "started_at", "finished_at", "error_code", "error",
            "model_calls", "input_tokens", "output_tokens",
        )  # fmt: skip
        told = dict(zip(names, known, strict=True))
        if isinstance(words := told["error"], bytes):
            told["error"] = words.decode()
        if told["status"] not in FINAL and told["status"] != RunState.WAITING:
            told["status"] = "interrupted" if owner is None else "running"
        program = _program(request)
        return msgspec.convert(
            {
                **told,
                "pid": owner or None,
                "folder": str(self.path),
                "argv": [os.fsdecode(word).encode("utf-8", "replace").decode() for word in program.argv],
                "cwd": os.fsdecode(program.cwd).encode("utf-8", "replace").decode() if program.cwd else None,
            },
            Seen,
        )

    async def knows(self, run_id: str, clock: Clock) -> bool:
        """Whether the run is one of this folder's."""
        async with SqliteSight(self.path, clock).look() as snapshot:
            return bool(await snapshot.rows(_KNOWN, run_id))

    async def logged(self, run_id: str, after: int, clock: Clock) -> list[tuple[int, str]]:
        """The lines of the run's log numbered above `after`."""
        async with SqliteSight(self.path, clock).look() as snapshot:
            rows = await snapshot.rows(_LOG, run_id, after)
        return [msgspec.convert((seq, _message(data)), tuple[int, str]) for seq, data in rows]


def _has_lock(pid: int, inode: int) -> bool:
    """Whether the process has locked this file; True where that cannot be known."""
    try:
        lines = Path("/proc/locks").read_text().splitlines()
    except OSError:
        return True
    held = (line.split() for line in lines if " FLOCK " in line)
    return any(words[-4] == str(pid) and words[-3].endswith(f":{inode}") for words in held)


def _program(request: object) -> Program:
    """What it starts; of a line so long that it is kept elsewhere, nothing."""
    if isinstance(request, bytes):
        found = msgspec.json.decode(request, type=RunRequest).program
        if found is not None:
            return found
    return Program(())


def _message(data: object) -> str:
    assert isinstance(data, bytes)
    return msgspec.json.decode(data, type=dict[str, str])["message"]


def place(data_dir: Path) -> Path:
    """Where they all are."""
    return data_dir / "exec"


def folders(data_dir: Path) -> Iterator[Folder]:
    """All of them, the oldest first."""
    try:
        names = sorted(entry.name for entry in place(data_dir).iterdir() if entry.name.startswith("run_"))
    except FileNotFoundError:
        return
    for name in names:
        if (place(data_dir) / name / "outlast.db").exists():
            yield Folder(place(data_dir) / name)


async def find(data_dir: Path, run_id: str, clock: Clock) -> Folder:
    """The folder of this run; `RunNotFound` if there is none."""
    for folder in folders(data_dir):
        try:
            if folder.path.name == run_id or await folder.knows(run_id, clock):
                return folder
        except ConfigError:
            continue  # another one's store is broken; that is said where it is asked for
    raise RunNotFound(
        f"There is no run {run_id} in {place(data_dir)}; outlast exec --list shows which there are."
    )
