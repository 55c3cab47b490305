"""A store of each kind that is in use, and what the doctor says of it."""

from collections.abc import Awaitable, Callable

import pytest

from outlast.clock import FakeClock
from outlast.config import Settings
from outlast.doctor import Finding, Level, examine
from tests.store.conftest import Either, clock, either, store

__all__ = ["Examined", "clock", "either", "examined", "store"]

Examined = Callable[[], Awaitable[list[Finding]]]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "either" in metafunc.fixturenames:
        metafunc.parametrize(
            "either", getattr(metafunc.module, "STORES", ("sqlite", "postgres")), indirect=True
        )


@pytest.fixture
def examined(either: Either, clock: FakeClock) -> Examined:
    """Examine the store as it is now, beside whoever has it."""
    settings = Settings(data_dir=either.path, database_url=either.url)

    async def look() -> list[Finding]:
        return await examine(settings, clock, confirm_s=0.01, newest=10)

    return look


def wrongs(found: list[Finding]) -> list[tuple[str, str]]:
    """What is wrong, by what it is about."""
    return [(finding.about, finding.says) for finding in found if finding.level is Level.WRONG]
