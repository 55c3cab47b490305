"""Where a test's store is kept: in a folder, by SQLite, or in a database of its own on a PostgreSQL."""

import sqlite3
from contextlib import closing
from pathlib import Path

import asyncpg
import pytest

from outlast.clock import Clock
from outlast.store.postgres import PostgresStore
from outlast.store.protocol import Store
from outlast.store.sqlite import SqliteStore
from tests import invariants
from tests.postgres import Postgres

BOTH = ("sqlite", "postgres")
SERVERS = {"postgres": "postgres", "postgres-14": "old_postgres"}


def server_for(request: pytest.FixtureRequest) -> Postgres | None:
    """The PostgreSQL of the store that a fixture is asked for; none for SQLite."""
    name = SERVERS.get(request.param)
    return None if name is None else request.getfixturevalue(name)


class Kept:
    """One of the stores, not open yet, and how to check it."""

    def __init__(self, tmp_path: Path, server: Postgres | None) -> None:
        self.path = tmp_path / "data"
        self._server = server
        self.url = server.database() if server is not None else None

    @property
    def settings(self) -> dict[str, str]:
        """What tells a process of this store; its folder it gets anyway."""
        return {} if self.url is None else {"OUTLAST_DATABASE_URL": self.url}

    def store(self, clock: Clock) -> Store:
        """A store on what is kept; after the one before it was closed. PostgreSQL goes by a clock of its own."""
        return SqliteStore(self.path, clock) if self.url is None else PostgresStore(self.url)

    async def execute(self, *statements: str) -> None:
        """Do what no verb does, behind the store's back."""
        if self.url is not None:
            link = await asyncpg.connect(self.url, server_settings={"search_path": "outlast"})
            await link.execute(";".join(statements))
            await link.close()
        else:
            with closing(sqlite3.connect(self.path / "outlast.db")) as database, database:
                for statement in statements:
                    database.execute(statement)

    async def count(self, table: str) -> int:
        """How many rows a table has."""
        return await self.number(f"SELECT count(*) FROM {table}")

    async def number(self, query: str) -> int:
        """What a query finds."""
        if self.url is None:
            with closing(sqlite3.connect(self.path / "outlast.db")) as database:
                n: int = database.execute(query).fetchone()[0]
            return n
        link = await asyncpg.connect(self.url, server_settings={"search_path": "outlast"})
        n = await link.fetchval(query)
        await link.close()
        return n

    async def size(self) -> int:
        """Bytes of the store's file, or of the database's tables and indexes."""
        if self.url is None:
            return await self.number("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size")
        return await self.number("SELECT pg_database_size(current_database())")

    async def lock_out(self) -> None:
        """From now on the store cannot be used."""
        if self._server is None:
            await self.execute("ALTER TABLE counters RENAME TO hidden")
        else:
            self._server.execute(f"ALTER DATABASE {self._name} ALLOW_CONNECTIONS false")
            self._server.execute(
                f"SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = '{self._name}'"
            )

    async def let_in(self) -> None:
        """The end of `lock_out`."""
        if self._server is None:
            await self.execute("ALTER TABLE hidden RENAME TO counters")
        else:
            self._server.execute(f"ALTER DATABASE {self._name} ALLOW_CONNECTIONS true")

    @property
    def _name(self) -> str:
        return (self.url or "").rpartition("/")[2]

    async def check(self) -> None:
        """Every promise, of a store that is closed."""
        if self.url is None:
            invariants.check(self.path / "outlast.db")
        else:
            await invariants.check_database(self.url)

    def remove(self) -> None:
        """Give the database's room back; a folder goes with the test's own."""
        if self._server is not None and self.url is not None:
            self._server.drop(self.url)
