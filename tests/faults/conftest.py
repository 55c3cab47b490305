"""A PostgreSQL that may be killed, and a fleet on it for all the tests that mend what they break."""

from collections.abc import Iterator

import pytest

from tests.faults.fleet import Fleet, fleet
from tests.postgres import Postgres, newest


@pytest.fixture(scope="package")
def database() -> Iterator[Postgres]:
    """Apart from the one that other tests use: here it is killed and stopped."""
    with Postgres(newest()) as server:
        yield server


@pytest.fixture(scope="package")
def standing(database: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Two servers, two workers; starting them takes seconds, so there is one fleet."""
    with fleet(tmp_path_factory.mktemp("fleet"), database) as ours:
        yield ours


@pytest.fixture
def many(standing: Fleet) -> Iterator[Fleet]:
    """The fleet, in order before the test and mended after it, with every promise checked."""
    yield standing
    standing.mend()
