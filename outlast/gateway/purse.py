"""What a run may still use. A call holds what it may come to from before it is sent until it is known what it came to.

So calls in parallel stay within the budget, save for one: what is left may be less than the last call takes. Where
nobody can say beforehand what a call may come to, calls go one at a time once the budget could be reached.
"""

import asyncio

import msgspec

from outlast.runs import Budget, Usage


class Guess(msgspec.Struct, frozen=True, gc=False):
    """What a call may come to at most; null if nobody can say."""

    tokens: int | None = None
    cost_nano_usd: int | None = None


class Hold(msgspec.Struct, frozen=True):
    """What is set aside for one call."""

    tokens: int = 0
    cost_nano_usd: int = 0


class Overdrawn(Exception):
    """Nothing is left, and nothing in flight can leave some."""


class Purse:
    """The budget of one attempt's run. Belongs to the event loop."""

    def __init__(self, budget: Budget, used: Usage) -> None:
        self.budget = budget
        self.used = used
        self._holds: list[Hold] = []
        self._changed = asyncio.Condition()

    @property
    def is_unlimited(self) -> bool:
        return self.budget.max_cost_nano_usd is None and self.budget.max_tokens is None

    async def take(self, guess: Guess) -> Hold:
        """Set aside what the call may come to once there is so much; `Overdrawn` if nothing is left and none in flight."""
        async with self._changed:
            while not self._fits(guess):
                if not self._holds:
                    raise Overdrawn
                await self._changed.wait()
            hold = Hold(guess.tokens or 0, guess.cost_nano_usd or 0)
            self._holds.append(hold)
            return hold

    async def settle(self, hold: Hold, used: Usage) -> None:
        """The call came to so much; nothing, if it was not answered."""
        async with self._changed:
            self._holds.remove(hold)
            self.used += used
            self._changed.notify_all()

    async def change(self, budget: Budget) -> None:
        """The run may use so much from now on."""
        async with self._changed:
            self.budget = budget
            self._changed.notify_all()

    def _fits(self, guess: Guess) -> bool:
        if not self._holds:
            return self.budget.is_left(self.used)
        tokens = self.used.input_tokens + self.used.output_tokens + sum(hold.tokens for hold in self._holds)
        cost = self.used.cost_nano_usd + sum(hold.cost_nano_usd for hold in self._holds)
        return _is_within(self.budget.max_tokens, tokens, guess.tokens) and _is_within(
            self.budget.max_cost_nano_usd, cost, guess.cost_nano_usd
        )


def _is_within(limit: int | None, taken: int, more: int | None) -> bool:
    return limit is None or (more is not None and taken + more <= limit)
