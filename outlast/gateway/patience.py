"""When a failed call is tried again, and after how long: the gateway does the retrying, so that agents need not."""

import random
from collections.abc import Iterable

import msgspec

from outlast.gateway.answer import Header

_PASSING = frozenset({408, 409, 429})
_MAX_PAUSE_DIGITS = 12


class Patience(msgspec.Struct, frozen=True):
    """Bounds of the retrying: how often, and how long to pause in all."""

    tries: int = 4
    pauses_s: float = 60.0
    first_s: float = 0.5
    longest_s: float = 8.0

    def pause(self, status: int, headers: Iterable[Header], tries: int, paused_s: float) -> float | None:
        """Seconds until the next try, or None when the answer stands.

        The provider's own `retry-after` is honoured; when it asks for more than is left of the pauses, the answer
        stands at once, for waiting less would only be refused again.
        """
        said = dict(headers)
        if tries >= self.tries or not _may_pass(status, said):
            return None
        asked = _asked_pause(said)
        pause = asked if asked is not None else self._backoff(tries)
        return pause if paused_s + pause <= self.pauses_s else None

    def _backoff(self, tries: int) -> float:
        # Jitter downwards, as OpenAI's clients do it: a herd spreads out and none waits longer than it must.
        return min(self.first_s * 2.0 ** (tries - 1), self.longest_s) * (1 - 0.25 * random.random())


def is_passing(status: int) -> bool:
    """Whether the same call may well succeed later."""
    return status in _PASSING or status >= 500


def _may_pass(status: int, headers: dict[bytes, bytes]) -> bool:
    match headers.get(b"x-should-retry"):
        case b"true":
            return status >= 400
        case b"false":
            return False
        case _:
            return is_passing(status)


def _asked_pause(headers: dict[bytes, bytes]) -> float | None:
    for name, unit_s in ((b"retry-after-ms", 0.001), (b"retry-after", 1.0)):
        text = headers.get(name, b"")
        if text.replace(b".", b"", 1).isdigit() and len(text) <= _MAX_PAUSE_DIGITS:
            return float(text) * unit_s
    return None
