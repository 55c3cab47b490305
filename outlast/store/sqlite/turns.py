"""Whose turn it is to write: one process at a time, and everybody can tell what others have written since.

A server and its worker share one file. SQLite's own waiting for the write lock sleeps and tries again; a lock of ours
wakes the next one at once. Beside it, in memory that all of them see, are a count, odd while somebody writes and two
more after each turn, and a ring with the ids of the runs that the last turns changed. So each can keep heads in memory
and forget only those that somebody else has changed.
"""

import fcntl
import mmap
import os
import sqlite3
import struct
from collections.abc import Sequence
from pathlib import Path

import msgspec

_COUNT = struct.Struct("=Q")
_TOLD_AT = _COUNT.size
_RING_AT = 2 * _COUNT.size
SLOTS = 16_384
MISSED_MAX = SLOTS // 2
"""Who has missed more changes forgets everything; the other half of the ring is for the turn that is being told."""
_SLOT = 32
_SIZE = _RING_AT + SLOTS * _SLOT


class Mark(msgspec.Struct, frozen=True, gc=False):
    """A moment between two turns: the count, and how many changes had been told by then."""

    count: int
    told: int


NEVER = Mark(-1, -SLOTS)


class Turns:
    """One process's view of the turns in a data folder. `take` and `end` belong to its writing thread."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "outlast.turn"
        self._lock = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        self._inode = os.fstat(self._lock).st_ino
        if os.fstat(self._lock).st_size < _SIZE:
            os.ftruncate(self._lock, _SIZE)
        self._shared = mmap.mmap(self._lock, _SIZE)

    @property
    def count(self) -> int:
        """Even when nobody writes."""
        return self._read(0)

    def mark(self) -> Mark | None:
        """This moment; None while somebody writes."""
        mark = Mark(self.count, self._read(_TOLD_AT))
        return mark if mark.count % 2 == 0 and self.count == mark.count else None

    def changed(self, since: Mark, until: Mark) -> list[str] | None:
        """The runs that turns have changed between two marks; None if that is not known any more."""
        if until.told - since.told > MISSED_MAX:
            return None
        start, stop = since.told % SLOTS, until.told % SLOTS
        ids = self._ids(start, stop) if start <= stop else self._ids(start, SLOTS) + self._ids(0, stop)
        was_overwritten = self._read(_TOLD_AT) - since.told > MISSED_MAX
        return None if was_overwritten else ids

    def take(self) -> Mark:
        """Wait for the turn; the moment before it.

        Refused, like a commit that fails, once the data folder is not the one any more that was opened: what would be
        written then would be in files that nobody finds again.
        """
        if not self._is_there():
            raise sqlite3.OperationalError(f"the data folder {self._path.parent} was removed or replaced")
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        before, told = self.count, self._read(_TOLD_AT)
        if before % 2:  # the last one died in its turn, and what it changed nobody told
            told += SLOTS
            _COUNT.pack_into(self._shared, _TOLD_AT, told)
            before += 1
        _COUNT.pack_into(self._shared, 0, before + 1)
        return Mark(before, told)

    def _is_there(self) -> bool:
        try:
            return self._path.stat().st_ino == self._inode
        except OSError:
            return False

    def end(self, changed: Sequence[str] | None = ()) -> Mark:
        """Let the next one write, who hears which runs this turn has changed (None: not known); the moment after it."""
        self._tell(changed)
        after = Mark(self.count + 1, self._read(_TOLD_AT))
        _COUNT.pack_into(self._shared, 0, after.count)
        fcntl.flock(self._lock, fcntl.LOCK_UN)
        return after

    def close(self) -> None:
        self._shared.close()
        os.close(self._lock)

    def _tell(self, changed: Sequence[str] | None) -> None:
        told = self._read(_TOLD_AT)
        names = [run_id.encode() for run_id in changed or ()]
        if changed is None or len(names) > MISSED_MAX or any(len(name) > _SLOT for name in names):
            told += SLOTS
        else:
            for at, name in enumerate(names, told):
                start = _RING_AT + at % SLOTS * _SLOT
                self._shared[start : start + _SLOT] = name.ljust(_SLOT)
            told += len(names)
        _COUNT.pack_into(self._shared, _TOLD_AT, told)

    def _ids(self, start: int, stop: int) -> list[str]:
        return self._shared[_RING_AT + start * _SLOT : _RING_AT + stop * _SLOT].decode().split()

    def _read(self, at: int) -> int:
        value: int = _COUNT.unpack_from(self._shared, at)[0]
        return value
