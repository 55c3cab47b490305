"""Gives back what deleted runs leave behind: bytes nobody refers to any more, and free pages of the file.

A little at a time, inside the commits that are made anyway, so that no write ever waits for a clean-up.
"""

import sqlite3

from outlast.store.ops import YOUNG_MS
from outlast.store.queries import query
from outlast.store.sqlite.ops import PACKAGE

PAGES = 64
"""Free pages given back to the file system in one go (256 KiB)."""


class Sweep:
    """A write for the writer: each call looks at the next stretch of the blobs, from the start again after the last."""

    def __init__(self) -> None:
        self._after = 0

    def __call__(self, db: sqlite3.Connection, now: int) -> None:
        until: int | None = db.execute(query(PACKAGE, "next_stretch"), (self._after,)).fetchone()[0]
        if until is not None:
            db.execute(query(PACKAGE, "sweep_blobs"), (self._after, until, now - YOUNG_MS))
        self._after = until or 0
        db.execute(f"PRAGMA incremental_vacuum({PAGES})").fetchall()
