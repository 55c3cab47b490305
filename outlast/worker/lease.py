"""The worker's right to its runs: a lease that it renews, and that it must not outlive."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from outlast.clock import Clock
from outlast.errors import Refused, RunNotFound, StoreUnavailable

T = TypeVar("T")
FIRST_PAUSE_S = 0.05
LONGEST_PAUSE_S = 1.0


class Lease:
    """Held for `lease_s` after the moment at which its last successful renewal was asked for.

    Counted on the monotonic clock and from the asking, so we think it over before the store does, never after.
    """

    def __init__(self, clock: Clock, lease_s: float) -> None:
        self._clock = clock
        self.lease_s = lease_s
        self._until = float("-inf")

    @property
    def left_s(self) -> float:
        return self._until - self._clock.monotonic()

    @property
    def is_held(self) -> bool:
        return self.left_s > 0

    @property
    def has_run_out(self) -> bool:
        """Whether it was held, its time is up, and nobody has called it `lost` yet: this process stood still."""
        return self._until > float("-inf") and not self.is_held

    def renewed(self, asked_at: float) -> None:
        self._until = asked_at + self.lease_s

    def lost(self) -> None:
        self._until = float("-inf")

    async def insist(self, write: Callable[[], Awaitable[T]]) -> T | None:
        """Write, again and again while the store is away and the lease is held; null if it did not come about.

        A refusal is final: someone else has taken the run, or ended it, and what we wanted to say no longer counts.
        """
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                return await write()
            except (Refused, RunNotFound):
                return None
            except StoreUnavailable:
                if not self.is_held:
                    return None
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
