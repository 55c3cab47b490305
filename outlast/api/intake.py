"""What a submit goes through until the engine takes it, wherever it comes from: a request, a batch, a schedule."""

import asyncio
from collections.abc import Callable

import msgspec

from outlast.api import submit
from outlast.births import NewRun
from outlast.config import Settings
from outlast.runners.protocol import Prepared
from outlast.runners.registry import Registry
from outlast.schedules import Schedule


class Intake(msgspec.Struct, frozen=True, kw_only=True):
    """Settles what will run. Keeps nothing, so what it refuses leaves no trace."""

    registry: Registry
    settings: Settings
    has_model: Callable[[], bool]
    check_webhook: Callable[[str], None]
    """Raises `WebhookRefused` for an address that will never be called."""

    def parse(self, raw: bytes, key: str | None = None) -> submit.Order:
        """Read a submit's body; `key` is the idempotency key that came outside of it."""
        return submit.parse(raw, key, self.settings)

    async def settle(self, order: submit.Order) -> NewRun:
        """The run as the engine takes it, or the error that says why it cannot run here."""
        if order.body.webhook_url is not None:
            self.check_webhook(order.body.webhook_url)
        return submit.new_run(order, await self._prepare(order))

    async def of_schedule(self, schedule: Schedule, key: str | None = None) -> NewRun:
        """The run that a schedule makes when it fires now."""
        return await self.settle(self.parse(schedule.run, key))

    async def _prepare(self, order: submit.Order) -> Prepared:
        """Off the loop where there is a file or a text of any length to be read."""
        asked = submit.submission(order.body)
        if self.registry.reads_yaml(asked):
            prepared = await asyncio.to_thread(self.registry.resolve, asked)
        else:
            prepared = self.registry.resolve(asked)
        runner = self.registry.runners[prepared.request.runner]
        if runner.needs_model and not self.has_model():
            raise submit.no_model(runner.name)
        return prepared
