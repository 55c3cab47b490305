"""Where time and ids come from. Nothing else in Outlast reads a clock or makes an id.

A test hands in a `FakeClock` and sets it; it never sleeps to let time pass.
"""

import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import lru_cache
from typing import Protocol

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_PAIRS = tuple(high + low for high in _ALPHABET for low in _ALPHABET)
_TIME_SHIFTS = range(40, -1, -10)
_CHANCE_SHIFTS = range(70, -1, -10)
_WIDTH = 26
_DIGIT_OF_BYTE = bytes(ord(_ALPHABET[byte & 31]) for byte in range(256))


class Clock(Protocol):
    """Wall time for records, monotonic time for deadlines."""

    def now(self) -> int:
        """Milliseconds since the epoch, UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds on a clock that never steps back; only differences mean anything."""
        ...


class SystemClock:
    """The machine's own clocks."""

    def now(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        return time.monotonic()


class FakeClock:
    """A clock that stands still until a test moves it."""

    def __init__(self, now: int = 1_800_000_000_000) -> None:
        self._now = now

    def now(self) -> int:
        return self._now

    def monotonic(self) -> float:
        return self._now / 1000

    def advance(self, seconds: float) -> None:
        self._now += round(seconds * 1000)


class Ids:
    """Makes ids that sort by the time they were made, within one process strictly.

    26 characters of Crockford base 32: 50 bits of milliseconds, 80 bits of chance. Two ids of the same
    millisecond differ by one in the random part, so a burst keeps its order; so does a clock that steps back.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._at = 0
        self._time = ""
        self._chance = 0
        self._chances = _chances()

    def new(self, prefix: str) -> str:
        """A fresh id such as `run_01k…`."""
        now = self._clock.now()
        if now > self._at:
            self._at, self._time = now, _base32(now, _TIME_SHIFTS)
            self._chance = next(self._chances)
        else:
            self._chance += 1
        return f"{prefix}_{self._time}{_base32(self._chance, _CHANCE_SHIFTS)}"


def random_id(prefix: str) -> str:
    """An id that tells nothing about its time: attempts, workers, tokens."""
    return random_ids(prefix, 1)[0]


def random_ids(prefix: str, n: int) -> list[str]:
    """As many at once: the draw is a system call, for which a thread lets go of the interpreter."""
    digits = os.urandom(_WIDTH * n).translate(_DIGIT_OF_BYTE).decode()
    return [f"{prefix}_{digits[at : at + _WIDTH]}" for at in range(0, _WIDTH * n, _WIDTH)]


def _chances() -> Iterator[int]:
    """79 bits each, drawn many at once for the same reason."""
    while True:
        drawn = os.urandom(1000)
        for at in range(0, 1000, 10):
            yield int.from_bytes(drawn[at : at + 10], "big") >> 1


def _base32(value: int, shifts: range) -> str:
    return "".join([_PAIRS[value >> shift & 1023] for shift in shifts])


def iso(at: int) -> str:
    """The wire's form of a time: `2026-11-22T01:02:03.004Z`."""
    return f"{_iso_second(at // 1000)}.{at % 1000:03d}Z"


@lru_cache(maxsize=4096)
def _iso_second(second: int) -> str:
    return f"{datetime.fromtimestamp(second, UTC):%Y-%m-%dT%H:%M:%S}"
