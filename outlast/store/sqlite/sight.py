"""Looks at a data folder, also while a server has it: on a connection that cannot write, and takes no lock of ours."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from outlast.clock import Clock
from outlast.store.invariants import PLACES
from outlast.store.migrate import Lag
from outlast.store.queries import Value
from outlast.store.snapshot import QUERY_S, Rows, TookTooLong, written
from outlast.store.sqlite.schema import lag_of, reading

WORDS = {":places": PLACES["sqlite"], ":ready": "ready = 1", ":main": "main."}
STEPS = 20_000
"""Of SQLite's machine between two looks at the time: about a millisecond."""


class SqliteSight:
    """`Sight` of a data folder. Its queries hold up the event loop: for a command of its own."""

    def __init__(self, data_dir: Path, clock: Clock) -> None:
        self.path = data_dir / "outlast.db"
        self._clock = clock

    @property
    def place(self) -> str:
        return str(self.path)

    @asynccontextmanager
    async def look(self) -> "AsyncIterator[SqliteSnapshot]":
        with reading(self.path) as connection:
            connection.execute("BEGIN")
            yield SqliteSnapshot(connection, self._clock)


class SqliteSnapshot:
    """`Snapshot` of a SQLite file: a read transaction, which holds up nobody in WAL mode."""

    def __init__(self, connection: sqlite3.Connection, clock: Clock) -> None:
        self._connection = connection
        self._clock = clock
        self.lag: Lag = lag_of(connection)
        self.now = clock.now()

    async def rows(self, query: str, *values: Value) -> Rows:
        deadline = self._clock.monotonic() + QUERY_S
        self._connection.set_progress_handler(lambda: int(self._clock.monotonic() > deadline), STEPS)
        try:
            return self._connection.execute(written(query, WORDS), values).fetchall()
        except sqlite3.OperationalError as error:
            if self._clock.monotonic() > deadline:
                raise TookTooLong(f"It took longer than {QUERY_S:g} s") from error
            raise
        finally:
            self._connection.set_progress_handler(None, 0)
