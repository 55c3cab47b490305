"""What a run may still use. A call holds what it may come to from before it is sent until it is known what it came to.

So calls side by side stay within the budget, save for the last one: what is left may be less than that takes.
"""

import asyncio

import msgspec

from outlast.runs import Run


class Guess(msgspec.Struct, frozen=True, gc=False):
    """What a call may come to."""

    tokens: int
    cost_nano_usd: int = 0


class Overdrawn(Exception):
    """Nothing is left, and nothing in flight can leave some."""


class Purse:
    """The budget of one attempt's run. Belongs to the event loop."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._holds: list[Guess] = []
        self._changed = asyncio.Condition()

    @property
    def is_unlimited(self) -> bool:
        budget = self._run.budget
        return budget.max_cost_nano_usd is None and budget.max_tokens is None

    @property
    def counts_cost(self) -> bool:
        """Whether it has a limit in money."""
        return self._run.budget.max_cost_nano_usd is not None

    async def take(self, guess: Guess) -> None:
        """Set aside what the call may come to once there is so much; `Overdrawn` if nothing is left or in flight."""
        async with self._changed:
            while not self._fits(guess):
                if not self._holds:
                    raise Overdrawn
                await self._changed.wait()
            self._holds.append(guess)

    async def settle(self, guess: Guess) -> None:
        """The call is over, and what it came to is told."""
        async with self._changed:
            self._holds.remove(guess)
            self._changed.notify_all()

    async def told(self, run: Run) -> None:
        """The run as it is now: what it may use, and what it has used."""
        if run.seq <= self._run.seq:
            return
        async with self._changed:
            self._run = run
            self._changed.notify_all()

    def _fits(self, guess: Guess) -> bool:
        budget, used = self._run.budget, self._run.usage
        if not self._holds:
            return budget.is_left(used)
        tokens = used.input_tokens + used.output_tokens + sum(hold.tokens for hold in self._holds)
        cost = used.cost_nano_usd + sum(hold.cost_nano_usd for hold in self._holds)
        return _is_within(budget.max_tokens, tokens + guess.tokens) and _is_within(
            budget.max_cost_nano_usd, cost + guess.cost_nano_usd
        )


def _is_within(limit: int | None, amount: int) -> bool:
    return limit is None or amount <= limit
