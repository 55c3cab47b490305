"""Token deltas on their way between two processes, each with wake-ups of its own."""

import asyncio

from outlast.clock import FakeClock
from outlast.relay import ASK_S, JOIN_S, WANTED_S, Relay
from outlast.store.protocol import TOLD_MAX
from outlast.wakeups import Wakeups


class Air:
    """What one tells, all others hear."""

    def __init__(self, clock: FakeClock) -> None:
        self.told: list[bytes] = []
        self.here, self.there = Wakeups(), Wakeups()
        self.reader = Relay(self.here, self._from_reader, clock)
        self.worker = Relay(self.there, self._from_worker, clock)

    def _from_reader(self, message: bytes) -> None:
        self.worker.hear(message)

    def _from_worker(self, message: bytes) -> None:
        self.told.append(message)
        self.reader.hear(message)


async def test_deltas_reach_a_reader_elsewhere_joined() -> None:
    air = Air(FakeClock())
    with air.here.watch("run_1", tokens=True) as watch:
        air.reader.ask(["run_1"])

        for text in ("Once", " upon", " a time"):
            air.worker.publish("run_1", text)
        await asyncio.wait_for(watch.wait(), 10 + JOIN_S)

        assert watch.take_tokens() == ["Once upon a time"]
    assert len(air.told) == 1


async def test_what_nobody_elsewhere_reads_is_not_told() -> None:
    air = Air(FakeClock())
    air.reader.ask(["run_1"])

    with air.there.watch("run_2", tokens=True) as watch:
        air.worker.publish("run_2", "here only")

        assert watch.take_tokens() == ["here only"]
    assert air.worker.is_idle


async def test_a_wish_ends_unless_it_is_said_again() -> None:
    clock = FakeClock()
    air = Air(clock)
    with air.here.watch("run_1", tokens=True) as watch:
        air.reader.ask(["run_1"])
        clock.advance(WANTED_S - 1)
        air.reader.ask_again()
        clock.advance(ASK_S)

        air.worker.publish("run_1", "still")

        await asyncio.wait_for(watch.wait(), 10 + JOIN_S)
        assert watch.take_tokens() == ["still"]
        clock.advance(WANTED_S)
    air.worker.publish("run_1", "no more")
    assert air.worker.is_idle


async def test_a_long_delta_is_told_in_pieces() -> None:
    air = Air(FakeClock())
    text = "\U0001f600" * 5000
    with air.here.watch("run_1", tokens=True) as watch:
        air.reader.ask(["run_1"])
        air.worker.publish("run_1", text)
        await asyncio.wait_for(watch.wait(), 10)

        assert "".join(watch.take_tokens()) == text
    assert all(len(message) <= TOLD_MAX for message in air.told)


async def test_noise_is_let_be() -> None:
    air = Air(FakeClock())

    for noise in (b"", b"\xff", b"{}", b"\x93\xa1w\x01\x02"):
        air.reader.hear(noise)
