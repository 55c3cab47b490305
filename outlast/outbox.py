"""The outbox: webhook notices that are owed, written by the transaction that ended their run."""

from collections.abc import Collection, Sequence

from outlast.store.protocol import Delivery, Store


class Outbox:
    """What the webhook deliverer does."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def take(self, limit: int, busy: Collection[str] = ()) -> Sequence[Delivery]:
        """Take webhook notices whose time has come, except those for the receivers in `busy`."""
        return await self._store.due_notices(limit, busy)

    async def settle(self, notice_id: str, *, retry_at: int | None = None) -> None:
        """A notice is done with, or is to be tried again at `retry_at`."""
        await self._store.settle_notice(notice_id, retry_at=retry_at)

    async def next_at(self, busy: Collection[str] = ()) -> int | None:
        """When the next notice is due, except those for the receivers in `busy`."""
        return await self._store.next_notice_at(busy)
