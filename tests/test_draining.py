"""SIGTERM and SIGINT, raised in this very process."""

import asyncio
import signal
from collections.abc import Iterator

import pytest

from outlast.draining import signals_drain

SOON_S = 10.0


class Drained:
    """Drains until it is allowed to end, and hears of the signal afterwards."""

    def __init__(self) -> None:
        self.may_end = asyncio.Event()
        self.heard: asyncio.Queue[int] = asyncio.Queue()
        self.began = asyncio.Event()

    async def drain(self) -> None:
        self.began.set()
        await self.may_end.wait()

    async def hear(self) -> int:
        async with asyncio.timeout(SOON_S):
            return await self.heard.get()


@pytest.fixture
def drained() -> Iterator[Drained]:
    drained = Drained()
    before = signal.signal(signal.SIGTERM, lambda number, frame: drained.heard.put_nowait(number))
    yield drained
    signal.signal(signal.SIGTERM, before)


async def test_whoever_handled_a_signal_hears_of_it_after_the_drain(drained: Drained) -> None:
    with signals_drain(drained):
        signal.raise_signal(signal.SIGTERM)
        async with asyncio.timeout(SOON_S):
            await drained.began.wait()
        was_early = not drained.heard.empty()
        drained.may_end.set()

        assert await drained.hear() == signal.SIGTERM
        assert not was_early


async def test_a_second_signal_cuts_a_drain_short(drained: Drained) -> None:
    with signals_drain(drained):
        signal.raise_signal(signal.SIGTERM)
        async with asyncio.timeout(SOON_S):
            await drained.began.wait()
        signal.raise_signal(signal.SIGTERM)

        assert await drained.hear() == signal.SIGTERM


async def test_two_signals_at_once_end_a_drain_that_has_not_begun(drained: Drained) -> None:
    with signals_drain(drained):
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)

        assert await drained.hear() == signal.SIGTERM


async def test_a_signal_after_the_drain_is_heard_at_once(drained: Drained) -> None:
    drained.may_end.set()
    with signals_drain(drained):
        signal.raise_signal(signal.SIGTERM)
        await drained.hear()

        signal.raise_signal(signal.SIGTERM)

        assert await drained.hear() == signal.SIGTERM
