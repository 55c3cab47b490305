"""Asks one upstream after another until one answers. A stream that has begun is an answer, and is stuck to."""

import asyncio
import importlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from outlast import telemetry
from outlast.gateway import wish
from outlast.gateway.answer import Ask
from outlast.gateway.patience import Patience, is_passing
from outlast.gateway.prices import Prices
from outlast.gateway.target import Target
from outlast.gateway.upstream import Route
from outlast.gateway.wish import Wish

if TYPE_CHECKING:
    from outlast.gateway.forward import Forward, Heard

_log = telemetry.get("gateway")


class Reached(msgspec.Struct, frozen=True):
    """What came back, and who sent it."""

    heard: "Heard"
    route: Route
    has_extra: bool
    """Whether the stream ends with a usage chunk that the agent did not ask for."""


class Asking:
    """The gateway's connections to upstreams."""

    def __init__(self, patience: Patience, prices: Prices) -> None:
        self._patience = patience
        self._prices = prices
        self._forward: Forward | None = None
        self._uncounted: set[str] = set()
        """Base URLs that refuse `stream_options`."""

    async def close(self) -> None:
        """Close the connections."""
        if self._forward is not None:
            await self._forward.close()

    async def ask(self, routes: Sequence[Route], ask: Ask, wished: Wish) -> Reached:
        """The answer of the first route that has one that may stand; if none has, what the last one said.

        What another upstream cannot help with (a wrong key, a request that is refused) stands at once.
        """
        for n, route in enumerate(routes, start=1):
            reached = await self._reach(route, ask, wished)
            status = reached.heard.status
            if n == len(routes) or not is_passing(status):
                return reached
            _log.warning("upstream given up; asking the next", upstream=route.target.name, status=status)
        raise AssertionError("there is always a route")

    async def _reach(self, route: Route, ask: Ask, wished: Wish) -> Reached:
        if route.model is not None and route.model != wished.model:
            ask = msgspec.structs.replace(ask, body=wish.with_model(ask.body, route.model))
        self._prices.begin(route)
        add_usage = ask.path == "/chat/completions" and wished.hides_usage
        heard, added = await self._hear(route.target, ask, add_usage=add_usage)
        return Reached(heard, route, added)

    async def _hear(self, target: Target, ask: Ask, *, add_usage: bool) -> "tuple[Heard, bool]":
        """What the target answers, and whether it was asked for a usage chunk that the agent does not expect."""
        forward = await self._loaded()
        if add_usage and target.base_url not in self._uncounted:
            asking = msgspec.structs.replace(ask, body=wish.with_usage(ask.body))
            heard = await forward.send(target, asking)
            if heard.status not in (400, 422) or b"stream_options" not in heard.body:
                return heard, True
            self._uncounted.add(target.base_url)
        return await forward.send(target, ask), False

    async def _loaded(self) -> "Forward":
        if self._forward is None:
            await asyncio.to_thread(importlib.import_module, "outlast.gateway.forward")
        if self._forward is None:
            from outlast.gateway.forward import Forward

            self._forward = Forward(self._patience)
        return self._forward
