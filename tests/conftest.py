"""What every test may ask for: a clock that it sets, and an engine on an open store whose invariants are checked."""

import os
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from xdist.remote import Producer

from outlast.clock import FakeClock
from outlast.engine import Engine
from outlast.store.protocol import Store
from outlast.store.sqlite import SqliteStore
from tests import invariants
from tests.kept import BOTH, server_for
from tests.postgres import Postgres, newest, oldest
from tests.room import room
from tests.shares import Shares, longest_first


def pytest_configure() -> None:
    """Let `tmp_path` be where there is room; it is `/tmp` otherwise, or what somebody has chosen.

    And what a shell lets its background jobs ignore, Ctrl-C above all, be heard by every process that a test starts.
    """
    for number in (signal.SIGINT, signal.SIGQUIT):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler if number is signal.SIGINT else signal.SIG_DFL)
    if (memory := room()) is not None:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(memory))


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Shares:
    """Who of several processes runs what."""
    config.option.loadscopereorder = False  # by the number of tests, which says nothing about their time
    return Shares(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    longest_first(items)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Both stores in turn, unless the module names others in `STORES` or the test is marked `sqlite`."""
    if "keeper" in metafunc.fixturenames:
        stores = getattr(metafunc.module, "STORES", BOTH)
        if metafunc.definition.get_closest_marker("sqlite") is not None:
            stores = ("sqlite",)
        metafunc.parametrize("keeper", stores, indirect=True)


@pytest.fixture
def keeper(request: pytest.FixtureRequest) -> Postgres | None:
    """The PostgreSQL on which the test's store is kept; none for SQLite."""
    return server_for(request)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """The newest PostgreSQL, one server for all tests; each takes a `database()` of its own."""
    with Postgres(newest()) as server:
        yield server


@pytest.fixture(scope="session")
def old_postgres() -> Iterator[Postgres]:
    """The oldest PostgreSQL that we support."""
    with Postgres(oldest()) as server:
        yield server


@pytest.fixture
def clock() -> FakeClock:
    """Stands still until the test moves it."""
    return FakeClock()


@pytest.fixture
async def store(tmp_path: Path, clock: FakeClock) -> AsyncIterator[SqliteStore]:
    """An open store in a folder of its own; tests/store and tests/api have theirs on PostgreSQL too."""
    store = SqliteStore(tmp_path / "data", clock)
    await store.open()
    yield store
    await store.close()
    invariants.check(store.path)


@pytest.fixture
def engine(store: Store, clock: FakeClock) -> Engine:
    """The verbs on that store."""
    return Engine(store, clock)
