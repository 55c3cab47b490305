"""Whose turn it is to write: one process at a time, and everybody can tell whether somebody else wrote since.

A server and its worker share one file. SQLite's own waiting for the write lock sleeps and tries again; a lock of ours
wakes the next one at once. The count beside it is odd while somebody writes, and two more after each turn, so what is
kept in memory is right as long as the count is the one that it was kept under.
"""

import fcntl
import mmap
import os
import sqlite3
import struct
from pathlib import Path

_COUNT = struct.Struct("=Q")


class Turns:
    """One process's view of the turns in a data folder. `take` and `end` belong to its writing thread."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "outlast.turn"
        self._lock = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        self._inode = os.fstat(self._lock).st_ino
        if os.fstat(self._lock).st_size < _COUNT.size:
            os.ftruncate(self._lock, _COUNT.size)
        self._shared = mmap.mmap(self._lock, _COUNT.size)
        self._mine = -1

    @property
    def count(self) -> int:
        """Even when nobody writes."""
        count: int = _COUNT.unpack_from(self._shared)[0]
        return count

    def take(self) -> bool:
        """Wait for the turn; whether nobody else had one since our last.

        Refused, like a commit that fails, once the data folder is not the one any more that was opened: what would be
        written then would be in files that nobody finds again.
        """
        if not self._is_there():
            raise sqlite3.OperationalError(f"the data folder {self._path.parent} was removed or replaced")
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        before = self.count
        # Odd already if the last one died in its turn: then nobody's memory may match what we begin from.
        _COUNT.pack_into(self._shared, 0, before + 1 + before % 2)
        return before == self._mine

    def _is_there(self) -> bool:
        try:
            return self._path.stat().st_ino == self._inode
        except OSError:
            return False

    def end(self) -> int:
        """Let the next one write; the count under which we left the store."""
        self._mine = self.count + 1
        _COUNT.pack_into(self._shared, 0, self._mine)
        fcntl.flock(self._lock, fcntl.LOCK_UN)
        return self._mine

    def close(self) -> None:
        self._shared.close()
        os.close(self._lock)
