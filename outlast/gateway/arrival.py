"""How a request arrives: whole, within its bounds of size and time, or not at all."""

import asyncio
from collections.abc import Iterable

from starlette.types import Receive

from outlast.gateway.answer import Header

BODY_S = 30.0
"""How long a body may take to arrive: its memory is set aside from its first byte on."""


class AgentLeft(Exception):
    """The agent went away before its request was complete."""


class TooLarge(Exception):
    """The body is longer than is taken."""


class TooSlow(Exception):
    """The body did not arrive in time."""


def declared(headers: Iterable[Header], most: int) -> int:
    """How long the body is; as long as can be, if that is not said. `TooLarge` if it says more than `most`."""
    said = next((value for name, value in headers if name == b"content-length"), b"")
    size = int(said) if said.isdigit() and len(said) < 20 else most
    if size > most:
        raise TooLarge
    return size


async def whole(receive: Receive, most: int) -> bytes:
    """The body; `TooLarge`, `TooSlow` or `AgentLeft` as soon as one of them is so."""
    try:
        async with asyncio.timeout(BODY_S):
            return await _read(receive, most)
    except TimeoutError as error:
        raise TooSlow from error


async def _read(receive: Receive, most: int) -> bytes:
    body, more = bytearray(), True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise AgentLeft
        body += message["body"]
        if len(body) > most:
            raise TooLarge
        more = message["more_body"]
    return bytes(body)
