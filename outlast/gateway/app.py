"""The gateway as its worker and its agents see it.

To the worker it hands out and revokes access; to agents it is an OpenAI-compatible server on loopback. The provider's
key stays on this side of it. It must never let a call through for an attempt that no longer holds its run.
"""

from collections.abc import Callable

from outlast import telemetry
from outlast.clock import Clock
from outlast.config import Settings
from outlast.engine import Engine
from outlast.gateway.calls import Calls
from outlast.gateway.endpoint import Endpoint
from outlast.gateway.grants import Grant, Grants
from outlast.gateway.ledger import Ledger
from outlast.gateway.listener import Listener
from outlast.gateway.patience import Patience
from outlast.gateway.prices import Prices
from outlast.gateway.recall import Recall
from outlast.gateway.run_address import RunAddress
from outlast.gateway.spending import HELD_S, Spending
from outlast.gateway.upstream import LocalModel, Upstreams
from outlast.runs import Run

_log = telemetry.get("gateway")


class Gateway:
    """Access to models for the attempts of one worker."""

    def __init__(
        self,
        engine: Engine,
        settings: Settings,
        clock: Clock,
        *,
        local_model: LocalModel | None = None,
        patience: Patience | None = None,
        held_s: float = HELD_S,
    ) -> None:
        """`ConfigError` when OPENAI_BASE_URL is no URL. For `held_s` a call waits for its run to be given more."""
        self._grants = Grants()
        upstreams = Upstreams(settings, local_model)
        recall = Recall(engine, normalises=settings.journal == "normalised")
        prices = Prices(settings.prices)
        ledger = Ledger(engine, clock, self._grants, prices)
        spending = Spending(engine, clock, prices, held_s)
        self._calls = Calls(upstreams, ledger, recall, spending, patience or Patience())
        endpoint = Endpoint(self._grants, upstreams, self._calls)
        self._listener = Listener(RunAddress(engine, self._grants, endpoint))
        self.base_url = ""
        """What agents get as their OPENAI_BASE_URL; known once started."""

    async def start(self) -> None:
        """Listen on a free loopback port."""
        self.base_url = f"http://127.0.0.1:{await self._listener.start()}/v1"
        _log.info("gateway listens", base_url=self.base_url)

    async def stop(self) -> None:
        """Cut every call and close every connection."""
        self._grants.end_all()
        await self._listener.stop()
        await self._calls.close()

    def grant(self, run: Run, attempt_id: str, model: str | None, holds: Callable[[], bool]) -> Grant:
        """Let an attempt call models while its worker `holds` its lease; `model` is what it means by `default`."""
        return Grant(self.base_url, self._grants.issue(run, attempt_id, model, holds))

    async def settle(self, attempt_id: str, *, until_it_asks: bool = False) -> None:
        """The run will go on in another attempt: begin no further call, return when those in flight are in its journal.

        It takes as long as the provider takes; `revoke` ends it at once. Further calls wait until then, when they are
        refused. With `until_it_asks` it does not return before there is one that waits.
        """
        await self._grants.settle(attempt_id, until_it_asks=until_it_asks)

    def revoke(self, attempt_id: str) -> None:
        """Take the access back: further calls get 403, calls in flight are cut at once. May be called again."""
        self._grants.end(attempt_id)

    def reason(self, attempt_id: str) -> str | None:
        """Why the last call of this attempt that failed did so; known for a while after the attempt too."""
        return self._grants.reason(attempt_id)
