"""Carries token deltas to readers on other machines: joined for a moment, and only for runs that someone there reads.

Lossy like all deltas. A reader's server says every few seconds which runs it wants to hear; the worker that has one of
them tells its deltas until nobody has asked for a while.
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import Literal

import msgspec

from outlast.clock import Clock
from outlast.store.protocol import TOLD_MAX
from outlast.wakeups import Wakeups

JOIN_S = 0.05
ASK_S = 10.0
WANTED_S = 3 * ASK_S
_ROOM = 200
"""Bytes of a message that are not text."""


class _Wanted(msgspec.Struct, frozen=True, array_like=True, tag="w"):
    run_id: str


class _Delta(msgspec.Struct, frozen=True, array_like=True, tag="t"):
    run_id: str
    text: str


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Wanted | _Delta).decode


class Relay:
    """One process's end. `tell` says something to all the others."""

    def __init__(self, wakeups: Wakeups, tell: Callable[[bytes], None], clock: Clock) -> None:
        self._wakeups = wakeups
        self._tell = tell
        self._clock = clock
        self._wanted: dict[str, float] = {}
        """Runs that are read elsewhere, and until when that holds without another word."""
        self._joined: dict[str, list[str]] = {}
        self._asked_at = clock.monotonic()

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits to be told."""
        return not self._joined

    def ask(self, run_ids: Iterable[str]) -> None:
        """Readers here want the deltas of these runs."""
        for run_id in run_ids:
            self._tell(_encode(_Wanted(run_id)))

    def ask_again(self) -> None:
        """Say once more what is wanted here, if it was long enough ago."""
        if self._clock.monotonic() - self._asked_at >= ASK_S:
            self._asked_at = self._clock.monotonic()
            self.ask(self._wakeups.wanting_tokens())

    def publish(self, run_id: str, text: str) -> None:
        """A piece of model output: to the readers here now, to those elsewhere within `JOIN_S`."""
        self._wakeups.publish_token(run_id, text)
        if not self._wanted:
            return
        if self._wanted.get(run_id, 0) > self._clock.monotonic():
            if not self._joined:
                asyncio.get_running_loop().call_later(JOIN_S, self._send)
            self._joined.setdefault(run_id, []).append(text)

    def hear(self, message: bytes) -> None:
        """What another process told; anything that is not ours is let be."""
        try:
            said = _decode(message)
        except msgspec.MsgspecError:
            return
        match said:
            case _Wanted(run_id):
                self._want(run_id)
            case _Delta(run_id, text):
                self._wakeups.publish_token(run_id, text)

    def _want(self, run_id: str) -> None:
        now = self._clock.monotonic()
        self._wanted = {wanted: until for wanted, until in self._wanted.items() if until > now}
        self._wanted[run_id] = now + WANTED_S

    def _send(self) -> None:
        joined, self._joined = self._joined, {}
        for run_id, texts in joined.items():
            for piece in _pieces("".join(texts), TOLD_MAX - _ROOM):
                self._tell(_encode(_Delta(run_id, piece)))


def _pieces(text: str, size: int) -> list[str]:
    """The text in parts of at most `size` bytes."""
    step = size // _WIDEST
    if len(text) <= step:
        return [text]
    return [text[at : at + step] for at in range(0, len(text), step)]


_WIDEST: Literal[4] = 4
"""Bytes of the widest character in UTF-8."""
