"""Writes down what each call came to: usage on the run, an event in its history, the reason of a failure."""

import asyncio
from contextlib import suppress

import msgspec

from outlast import telemetry
from outlast.clock import Clock
from outlast.engine import Engine
from outlast.errors import Fenced, OutlastError, RunNotFound, StoreUnavailable
from outlast.gateway.answer import Ask
from outlast.gateway.dialect import COUNT_TOKENS
from outlast.gateway.grants import Grants, Holder
from outlast.gateway.prices import Prices
from outlast.gateway.recall import Diverged, How
from outlast.gateway.upstream import Route
from outlast.gateway.usage import Meter, Tokens
from outlast.journal import FinishedCall
from outlast.runs import Draft, EventKind, Usage

AWAY_S = 0.2
"""Between two tries to reach a store that is away."""

_log = telemetry.get("gateway")


class ModelCall(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The data of a `model_call` event; what is not known is left out."""

    model: str | None = None
    path: str
    status: int
    streamed: bool
    ms: int
    how: How
    """Where the answer comes from."""
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_tokens: int | None = None
    """Of the input, what came from the provider's cache."""
    cache_write_tokens: int | None = None
    """Of the input, what was put into it."""
    tries: int = 1
    """How often the gateway asked the provider."""
    agent_retry: int = 0
    """How often the agent's client says it has asked the same before."""
    cost_usd: float | None = None
    upstream: str | None = None
    """Who answered, where the operator has named it."""
    alias: str | None = None
    """By which alias, when it was not the one that was asked."""
    error: str | None = None
    diverged: Diverged | None = None
    """Where this attempt left the way of those before it."""


class Tally:
    """One call, and what is known of it so far."""

    def __init__(self, holder: Holder, ask: Ask, model: str | None, started: float) -> None:
        self.holder = holder
        self.path = ask.path
        self.model = model
        self.started = started
        self.agent_retry = ask.retries
        self.route: Route | None = None
        """Who answered, once somebody has."""
        self.meter = Meter()
        self.status = 0
        self.tries = 1
        self.streamed = False
        self.how = How.LIVE
        self.diverged: Diverged | None = None
        self.recorded = False


class Ledger:
    """Records calls in their runs."""

    def __init__(self, engine: Engine, clock: Clock, grants: Grants, prices: Prices) -> None:
        self._engine = engine
        self._clock = clock
        self._grants = grants
        self.prices = prices

    def open(self, holder: Holder, ask: Ask, model: str | None) -> Tally:
        """A call begins."""
        return Tally(holder, ask, model, self._clock.monotonic())

    async def record(self, tally: Tally, finished: FinishedCall | None = None) -> bool:
        """The call is over: write it down, once, and keep its answer. Whether that is on disk now.

        While the store is away an answer that was paid for waits here, and its agent with it: who got it now would ask
        for more, and after a crash for all of it again. An attempt that was fenced writes nothing and may call no more.
        """
        if tally.recorded:
            return False
        tally.recorded = True
        if tally.meter.error is not None:
            self._grants.blame(tally.holder, tally.meter.error)
        try:
            await self._insist(tally, finished)
            return True
        except (Fenced, RunNotFound):
            tally.holder.end()
        except OutlastError as error:
            _log.error("model call not recorded", run_id=tally.holder.run_id, code=error.code)
        return False

    async def _insist(self, tally: Tally, finished: FinishedCall | None) -> None:
        """Write it, also if the store is away for a while; what was not paid for may go unrecorded."""
        try:
            return await self._write(tally, finished)
        except StoreUnavailable as error:
            if not _is_paid(tally):
                raise
            _log.warning("model call waits to be recorded", run_id=tally.holder.run_id, reason=error.detail)
        while True:
            await asyncio.sleep(AWAY_S)
            with suppress(StoreUnavailable):
                if not await self._is_kept(tally.holder, finished):
                    await self._write(tally, finished)
                return

    async def _is_kept(self, holder: Holder, finished: FinishedCall | None) -> bool:
        """Whether it was written after all: the answer to a commit can get lost."""
        if finished is None:
            return False
        run_id, generation = holder.run_id, holder.generation
        return await self._engine.journals.answered(run_id, generation, finished.key) is not None

    async def _write(self, tally: Tally, finished: FinishedCall | None) -> None:
        holder, tokens = tally.holder, tally.meter.tokens
        cost = await self._cost(tally)
        draft = Draft(EventKind.MODEL_CALL, msgspec.json.encode(self._event(tally, cost)))
        if _is_paid(tally):
            usage = Usage(1, tokens.input or 0, tokens.output or 0, cost or 0, int(cost is None))
            run = await self._engine.record_call(holder.run_id, holder.attempt_id, usage, draft, finished)
            await holder.purse.told(run)
        elif finished is not None:
            await self._engine.record_call(holder.run_id, holder.attempt_id, Usage(), draft, finished)
        else:
            await self._engine.append(holder.run_id, holder.attempt_id, [draft])

    async def _cost(self, tally: Tally) -> int | None:
        """What it cost, in nano-USD; null if nobody knows, or there was nothing to pay for."""
        if tally.route is None or not _is_paid(tally):
            return None
        await self.prices.ready()
        return self.prices.cost(tally.route, tally.path, tally.meter.tokens, self._clock.now())

    def _event(self, tally: Tally, cost: int | None) -> ModelCall:
        tokens, route = tally.meter.tokens if tally.how is How.LIVE else Tokens(), tally.route
        return ModelCall(
            model=tally.model,
            path=f"/v1{tally.path}",
            status=tally.status,
            streamed=tally.streamed,
            ms=round((self._clock.monotonic() - tally.started) * 1000),
            input_tokens=tokens.input,
            output_tokens=tokens.output,
            cache_read_tokens=tokens.cache_read or None,
            cache_write_tokens=tokens.cache_write or None,
            tries=tally.tries,
            agent_retry=tally.agent_retry,
            cost_usd=None if cost is None else cost / 1e9,
            upstream=route.target.name if route else None,
            alias=route.alias if route and route.alias != tally.model else None,
            error=tally.meter.error,
            how=tally.how,
            diverged=tally.diverged,
        )


def _is_paid(tally: Tally) -> bool:
    """Whether it was generated for us, and now."""
    return tally.how is How.LIVE and tally.meter.error is None and tally.path != COUNT_TOKENS
