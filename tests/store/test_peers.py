"""The line between two processes on one data folder, by its two ends."""

import asyncio
import gc
import socket
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from outlast.clock import FakeClock
from outlast.errors import ConfigError
from outlast.store.protocol import Rung
from outlast.store.sqlite import SqliteStore, peers
from outlast.store.sqlite.peers import Peer


class End:
    """One end, and what came in there."""

    def __init__(self, end: socket.socket) -> None:
        self.rung: asyncio.Queue[Sequence[Rung]] = asyncio.Queue()
        self.parted: list[Peer] = []
        self.peer = Peer(end, self.rung.put_nowait, lambda message: None, self.parted.append)


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    one, other = socket.socketpair(socket.AF_UNIX, peers.KIND)
    with one, other:
        yield one, other


async def test_a_message_that_is_too_long_for_the_line_is_said_to_be_missing(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    pair[0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    ours, theirs = End(pair[0]), End(pair[1])

    ours.peer.ring([Rung(f"run_{n:032}") for n in range(peers.RUNGS_MAX)])

    async with asyncio.timeout(5):
        assert await theirs.rung.get() == []
    ours.peer.close()
    theirs.peer.close()


async def test_guests_that_come_and_go_leave_nothing_behind(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path, FakeClock())
    await store.open()
    before = _descriptors()
    timers = _timers()

    for _ in range(5):
        guest, _lock = store.admit()
        guest.close()
        await _until(lambda: not store.has_guests)

    assert _timers() == timers
    assert _descriptors() == before
    await store.close()


async def test_a_store_that_cannot_be_opened_leaves_no_descriptor_open(tmp_path: Path) -> None:
    (tmp_path / "outlast.db").write_bytes(b"not a database " * 100)
    gc.collect()
    before = _descriptors()
    store = SqliteStore(tmp_path, FakeClock())

    with pytest.raises(ConfigError):
        await store.open()

    assert _descriptors() == before


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while True:
            if condition():
                return
            await asyncio.sleep(0.01)


def _descriptors() -> int:
    """How many are open."""
    return len(list(Path("/proc/self/fd").iterdir()))


def _timers() -> int:
    """Timers of stores that wait on this loop."""
    gc.collect()
    return sum(
        isinstance(found, asyncio.TimerHandle) and "_say_missed" in repr(found) and not found.cancelled()
        for found in gc.get_objects()
    )
