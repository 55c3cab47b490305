"""What is written in one turn of the loop leaves at once, whole and in order."""

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from outlast.api.corked import FULL_BYTES, Corked


@pytest.fixture
async def pair() -> AsyncIterator[tuple[Corked, socket.socket]]:
    """A corked transport, and the other end of its connection."""
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_connection(asyncio.Protocol, sock=ours)
    yield Corked(transport, loop), theirs
    transport.abort()
    theirs.close()


async def test_what_is_written_in_one_turn_is_held_until_its_end(pair: tuple[Corked, socket.socket]) -> None:
    corked, theirs = pair
    corked.write(b"head ")
    corked.write(b"body")
    with pytest.raises(BlockingIOError):
        theirs.recv(100)

    received = await asyncio.get_running_loop().sock_recv(theirs, 100)

    assert received == b"head body"


async def test_a_lot_leaves_before_the_turn_ends(pair: tuple[Corked, socket.socket]) -> None:
    corked, theirs = pair

    corked.write(b"x" * (FULL_BYTES + 1))

    assert len(theirs.recv(100)) == 100


async def test_what_was_written_leaves_before_the_connection_is_closed(
    pair: tuple[Corked, socket.socket],
) -> None:
    corked, theirs = pair
    corked.write(b"last")

    corked.close()

    loop = asyncio.get_running_loop()
    assert await loop.sock_recv(theirs, 100) == b"last"
    assert await loop.sock_recv(theirs, 100) == b""
    assert corked.is_closing()


async def test_a_connection_that_is_cut_sends_no_more(pair: tuple[Corked, socket.socket]) -> None:
    corked, theirs = pair
    corked.write(b"never")

    corked.abort()

    assert await asyncio.get_running_loop().sock_recv(theirs, 100) == b""
