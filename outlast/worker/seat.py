"""A worker's seat: a folder on this machine that one living worker has, by whose identity its processes are known.

The seat of a worker that was killed is free again, and whoever takes it ends what that one left behind. A second worker
on the same machine sits elsewhere and harms nobody.
"""

import fcntl
import os
from pathlib import Path

from outlast.errors import ConfigError

SEATS = 256
"""Workers that one machine can have with one data folder."""


class Seat:
    """The first free seat below a folder; `leave` it at the end. The kernel frees it if this process dies."""

    def __init__(self, folder: Path) -> None:
        """Raises `ConfigError` if the folder cannot be used or all seats are taken."""
        for number in range(SEATS):
            self.folder = folder / f"worker-{number}"
            lock = _locked(self.folder)
            if lock is not None:
                self._lock = lock
                return
        raise ConfigError(f"{SEATS} workers use {folder} already; give this one another OUTLAST_DATA_DIR.")

    def leave(self) -> None:
        os.close(self._lock)


def _locked(folder: Path) -> int | None:
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise ConfigError(
            f"The folder {folder} cannot be used: {error.strerror}. Name one that can be written with OUTLAST_DATA_DIR."
        ) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    return lock
