"""Both stores in turn, for the tests of this folder; a module whose tests are about one names it in `STORES`."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from outlast.clock import FakeClock
from outlast.store.protocol import Store
from tests.kept import BOTH, Kept
from tests.postgres import DatabaseClock, Postgres

__all__ = ["BOTH", "Either"]


class Either(Kept):
    """One of the stores, not open yet, and the clock it goes by."""

    def __init__(self, tmp_path: Path, server: Postgres | None) -> None:
        super().__init__(tmp_path, server)
        self.clock = (
            DatabaseClock(server, self.url) if server is not None and self.url is not None else FakeClock()
        )

    def make(self) -> Store:
        """A store on what is kept; after the one before it was closed."""
        return self.store(self.clock)


@pytest.fixture
def either(tmp_path: Path, keeper: Postgres | None) -> Iterator[Either]:
    """Where a store is kept."""
    either = Either(tmp_path, keeper)
    yield either
    either.remove()


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
