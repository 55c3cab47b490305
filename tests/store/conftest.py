"""Both stores in turn, for the tests of this folder; a module whose tests are about one names it in `STORES`."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import asyncpg
import pytest

from outlast.clock import FakeClock
from outlast.store.postgres import PostgresStore
from outlast.store.protocol import Store
from outlast.store.sqlite import SqliteStore
from tests import invariants
from tests.postgres import DatabaseClock, Postgres

BOTH = ("sqlite", "postgres")
SERVERS = {"postgres": "postgres", "postgres-14": "old_postgres"}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "either" in metafunc.fixturenames:
        metafunc.parametrize("either", getattr(metafunc.module, "STORES", BOTH), indirect=True)


class Either:
    """One of the stores, not open yet, its clock, and how to check it."""

    def __init__(self, tmp_path: Path, server: Postgres | None) -> None:
        self.path = tmp_path / "data"
        self.url = server.database() if server is not None else None
        self.clock = (
            DatabaseClock(server, self.url) if server is not None and self.url is not None else FakeClock()
        )

    def make(self) -> Store:
        """A store on what is kept; after the one before it was closed."""
        return SqliteStore(self.path, self.clock) if self.url is None else PostgresStore(self.url)

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

    async def check(self) -> None:
        """Every promise, of a store that is closed."""
        if self.url is None:
            invariants.check(self.path / "outlast.db")
        else:
            await invariants.check_database(self.url)


@pytest.fixture
def either(request: pytest.FixtureRequest, tmp_path: Path) -> Either:
    """Where a store is kept."""
    name = SERVERS.get(request.param)
    return Either(tmp_path, request.getfixturevalue(name) if name is not None else None)


@pytest.fixture
def clock(either: Either) -> FakeClock:
    """What the store goes by; it stands still until the test moves it."""
    return either.clock


@pytest.fixture
async def store(either: Either) -> AsyncIterator[Store]:
    """An open store; its promises are checked at the end."""
    store = either.make()
    await store.open()
    yield store
    await store.close()
    await either.check()
