"""Gives back what deleted runs leave behind: links and bytes nobody refers to any more, and free pages of the file.

A little at a time, inside the commits that are made anyway, so that no write ever waits for a clean-up.
"""

import sqlite3

from outlast.store.ops import YOUNG_MS
from outlast.store.queries import query
from outlast.store.sqlite.ops import PACKAGE

PAGES = 64
"""Free pages given back to the file system in one go (256 KiB)."""


class Sweep:
    """A write for the writer: each call looks at the next stretch of each table, and after the last at the first."""

    def __init__(self) -> None:
        self._stretches = (
            _Stretch("next_stretch_of_links", "sweep_links"),
            _Stretch("next_stretch", "sweep_blobs"),
        )

    def __call__(self, db: sqlite3.Connection, now: int) -> None:
        for stretch in self._stretches:
            stretch.sweep(db, now - YOUNG_MS)
        db.execute(f"PRAGMA incremental_vacuum({PAGES})").fetchall()


class _Stretch:
    def __init__(self, next_one: str, sweep: str) -> None:
        self._next, self._sweep = next_one, sweep
        self._after = 0

    def sweep(self, db: sqlite3.Connection, before: int) -> None:
        until: int | None = db.execute(query(PACKAGE, self._next), (self._after,)).fetchone()[0]
        if until is not None:
            db.execute(query(PACKAGE, self._sweep), (self._after, until, before))
        self._after = until or 0
