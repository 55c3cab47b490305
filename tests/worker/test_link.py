"""Frames over a socket pair, from a peer that may be anything."""

import asyncio
import socket
import struct

import pytest

from outlast.runners.protocol import Done, Logged, Pong, ToChild, ToParent
from outlast.worker.link import FRAME_MAX, TO_PARENT, BrokenPeer, Inbox, Link, pack
from tests.worker.conftest import until


def test_frames_are_put_together_from_any_pieces() -> None:
    data = pack(Logged("att_1", "hello")) + pack(Done("att_1", b"x" * 100_000)) + pack(Pong(7))
    inbox = Inbox(TO_PARENT)

    frames = [frame for n in range(0, len(data), 977) for frame in inbox.feed(data[n : n + 977])]

    assert frames == [Logged("att_1", "hello"), Done("att_1", b"x" * 100_000), Pong(7)]


@pytest.mark.parametrize(
    "data",
    [
        struct.pack(">I", FRAME_MAX + 1),
        struct.pack(">I", 3) + b"\xc1\xc1\xc1",
        pack({"type": "unknown"}),
        pack(["no", "frame"]),
        pack({"type": "log", "attempt_id": 7, "message": "x"}),
        struct.pack(">I", 0),
    ],
)
def test_what_is_no_frame_of_ours_breaks_the_connection(data: bytes) -> None:
    with pytest.raises(BrokenPeer):
        Inbox(TO_PARENT).feed(data)


class Ear:
    """Hears a link."""

    def __init__(self, end: socket.socket) -> None:
        self.heard: list[ToParent] = []
        self.closed = 0
        self.link: Link[ToChild, ToParent] = Link(end, TO_PARENT, self.heard.extend, self._close)

    def _close(self) -> None:
        self.closed += 1


async def test_a_link_hears_what_came_before_the_end() -> None:
    ours, theirs = socket.socketpair()
    ear = Ear(ours)
    theirs.sendall(pack(Pong(1)) + pack(Pong(2)) + b"\x00\x00")
    theirs.close()

    ear.link.drain()

    assert ear.heard == [Pong(1), Pong(2)]
    assert ear.closed == 1


async def test_a_link_to_a_peer_that_talks_nonsense_is_closed() -> None:
    ours, theirs = socket.socketpair()
    ear = Ear(ours)
    with theirs:
        theirs.sendall(b"GET / HTTP/1.1\r\n\r\n")
        await until(lambda: ear.closed == 1, 5, "the link to be closed")

        assert theirs.recv(1) == b""


async def test_a_paused_link_still_hears_the_last_words() -> None:
    ours, theirs = socket.socketpair()
    ear = Ear(ours)
    ear.link.pause(3600)
    with theirs:
        theirs.sendall(pack(Pong(1)))
        await asyncio.sleep(0)
        assert ear.heard == []

        ear.link.drain()

    assert ear.heard == [Pong(1)]
    ear.link.close()
