"""Lets the calls of a run out within its budget. When nothing is left the run waits for more; it does not fail."""

import asyncio
from collections.abc import Sequence
from typing import Annotated

import msgspec

from outlast import telemetry
from outlast.clock import Clock
from outlast.engine import Engine
from outlast.errors import Fenced, RunNotFound, StoreUnavailable
from outlast.gateway.answer import ATTEMPT_OVER, Refusal
from outlast.gateway.dialect import COUNT_TOKENS, EMBEDDINGS
from outlast.gateway.grants import Holder
from outlast.gateway.prices import Prices
from outlast.gateway.purse import Guess, Overdrawn
from outlast.gateway.record import Call
from outlast.gateway.upstream import Route
from outlast.gateway.usage import Tokens
from outlast.runs import Run
from outlast.transitions import BUDGET

HELD_S = 30.0
"""So long a call is held for its run to be given more, before the attempt ends and the run waits without one."""
OUTPUT_GUESS = 16_384
"""Tokens that an answer may have of which the request does not say how long it may be."""
BYTES_PER_TOKEN = 3
"""Of a request: few tokens are shorter."""
AWAY_S = 0.2

_log = telemetry.get("gateway")


Count = Annotated[int, msgspec.Meta(ge=0, le=10**9)]


class _Length(msgspec.Struct, frozen=True):
    """How three APIs say how long an answer may be, and how many there may be."""

    max_completion_tokens: Count | None = None
    max_output_tokens: Count | None = None
    max_tokens: Count | None = None
    n: Count | None = None


_read_length = msgspec.json.Decoder(_Length).decode


class Spending:
    """The budgets of the runs of one worker."""

    def __init__(self, engine: Engine, clock: Clock, prices: Prices, held_s: float = HELD_S) -> None:
        self._engine = engine
        self._clock = clock
        self._prices = prices
        self._held_s = held_s

    async def admit(self, call: Call, routes: Sequence[Route]) -> Guess | Refusal | None:
        """Set aside what the call may come to, null if nothing limits it; held, then refused, if nothing is left."""
        purse = call.holder.purse
        if purse.is_unlimited or call.ask.path == COUNT_TOKENS:
            return None
        guess = await self._guess(call, routes)
        if guess is None:
            return _price_unknown(call.model)
        while True:
            try:
                await purse.take(guess)
                return guess
            except Overdrawn:
                if not await self._is_given_more(call.holder):
                    await self._suspend(call.holder)
                    return ATTEMPT_OVER

    async def _guess(self, call: Call, routes: Sequence[Route]) -> Guess | None:
        """None if the run has a limit in money and nobody knows what the call costs."""
        tokens = Tokens(len(call.ask.body) // BYTES_PER_TOKEN + 1, _longest(call))
        most = (tokens.input or 0) + (tokens.output or 0)
        if not call.holder.purse.counts_cost:
            return Guess(most)
        for route in routes:
            self._prices.begin(route)
        await self._prices.ready()
        now = self._clock.now()
        costs = [self._prices.cost(route, call.ask.path, tokens, now) for route in routes]
        known = [cost for cost in costs if cost is not None]
        return Guess(most, max(known)) if len(known) == len(costs) else None

    async def _is_given_more(self, holder: Holder) -> bool:
        """Wait for it, as long as a call may be held."""
        deadline = self._clock.monotonic() + self._held_s
        with self._engine.watch(holder.run_id) as watch:
            while True:
                run = await self._head(holder)
                if run is None:
                    return False
                await holder.purse.told(run)
                if run.budget.is_left(run.usage):
                    return True
                if not await watch.wait(deadline - self._clock.monotonic()):
                    return False

    async def _head(self, holder: Holder) -> Run | None:
        """The run, while the attempt has it."""
        while not holder.is_over:
            try:
                run = await self._engine.head(holder.run_id)
            except StoreUnavailable:
                await asyncio.sleep(AWAY_S)
            else:
                return run if run is not None and run.attempt_id == holder.attempt_id else None
        return None

    async def _suspend(self, holder: Holder) -> None:
        """Let the run wait without its attempt, which ends by that."""
        while not holder.is_over:
            try:
                run = await self._engine.suspend(holder.run_id, holder.attempt_id, BUDGET, msgspec.Raw(b"{}"))
                _log.info("budget used up", run_id=run.id, state=run.state)
                return
            except (Fenced, RunNotFound):
                return
            except StoreUnavailable:
                await asyncio.sleep(AWAY_S)


def _longest(call: Call) -> int:
    """The tokens that the answer may have."""
    if call.ask.path == EMBEDDINGS:
        return 0
    try:
        said = _read_length(call.ask.body)
    except msgspec.MsgspecError:
        return OUTPUT_GUESS
    most = said.max_completion_tokens or said.max_output_tokens or said.max_tokens or OUTPUT_GUESS
    return most * (said.n or 1)


def _price_unknown(model: str | None) -> Refusal:
    return Refusal(
        403,
        "price_unknown",
        f"This run may cost only so much, and nobody knows the price of the model {model!r}: name it under [prices] in "
        "outlast.toml, or limit the run by max_tokens instead.",
    )
