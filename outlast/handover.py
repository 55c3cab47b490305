"""What a server and its companion say to each other, over a socket pair: first what there is to do, then signs of life.

The settings, keys among them, go this way; nothing of them is on a command line or in an environment.
"""

import asyncio
import socket
from contextlib import suppress
from pathlib import Path

import msgspec

from outlast import telemetry
from outlast.clock import Clock
from outlast.config import Settings

log = telemetry.get("app")

START_S = 60.0
"""How long a companion may take to its first sign."""
STILL_S = 5.0
"""How long it may give no sign at the least; it has the time of its lease, after which it is of no use anyway."""
SIGN_S = 0.5


class Handover(msgspec.Struct, frozen=True):
    """What a companion is told first."""

    settings: Settings
    guest: int | None
    """The descriptor of its store's socket, where the store has a single owner."""
    instance: str
    """By which its server knows it among the workers."""


_encode = msgspec.msgpack.Encoder(enc_hook=str).encode


def hand_over(control: socket.socket, handover: Handover) -> None:
    """Say it; a companion that is dead already is for its watch to see."""
    data = _encode(handover)
    with suppress(OSError):
        control.sendall(len(data).to_bytes(4, "big") + data)


def take_over(control: socket.socket) -> Handover:
    """The other end. Raises `EOFError` if the server is gone."""
    size = int.from_bytes(_read(control, 4), "big")
    return msgspec.msgpack.decode(_read(control, size), type=Handover, dec_hook=_path)


def _path(kind: type, value: object) -> object:
    if kind is Path and isinstance(value, str):
        return Path(value)
    raise NotImplementedError


def _read(control: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = control.recv(size - len(data))
        if not more:
            raise EOFError
        data += more
    return data


async def give_signs(control: socket.socket) -> None:
    """Show for ever that this event loop turns."""
    control.setblocking(False)
    while True:
        with suppress(OSError):  # full while the server stands still itself
            control.send(b".")
        await asyncio.sleep(SIGN_S)


class Signs:
    """The companion's signs as its server sees them."""

    def __init__(self, control: socket.socket, clock: Clock, lease_s: float) -> None:
        control.setblocking(False)
        self._control = control
        self._clock = clock
        self._lease_s = lease_s
        self._bound_s = START_S
        self._heard_at = clock.monotonic()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(control, self._hear)

    def _hear(self) -> None:
        self._heard_at = self._clock.monotonic()
        self._bound_s = max(self._lease_s, STILL_S)
        try:
            if not self._control.recv(4096):
                self._loop.remove_reader(self._control)  # it ends
        except BlockingIOError:
            pass
        except OSError:
            self._loop.remove_reader(self._control)

    async def until_still(self) -> None:
        """Return once it has given no sign for too long. A server that stood still itself hears what came meanwhile."""
        while True:
            left_s = self._heard_at + self._bound_s - self._clock.monotonic()
            if left_s <= 0:
                return
            await asyncio.sleep(min(left_s, SIGN_S))

    def close(self) -> None:
        self._loop.remove_reader(self._control)
        self._control.close()
