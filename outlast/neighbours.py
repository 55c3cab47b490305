"""What other processes on the store have done, and how those here hear of it: soon, if not always at once."""

import asyncio
from collections.abc import Sequence

from outlast.errors import StoreUnavailable
from outlast.relay import Relay
from outlast.store.protocol import Rung, Store
from outlast.wakeups import Wakeups


class Neighbours:
    """Wakes up those who wait here for what happens elsewhere."""

    def __init__(self, store: Store, wakeups: Wakeups, relay: Relay) -> None:
        self._store = store
        self._wakeups = wakeups
        self._relay = relay
        self._looking: asyncio.Task[None] | None = None

    def hear(self, rungs: Sequence[Rung]) -> None:
        """These commits; none named means that some may not have been heard of."""
        if rungs:
            self._wakeups.rung(rungs)
        elif self._looking is None or self._looking.done():
            self._looking = asyncio.get_running_loop().create_task(self._look())

    async def _look(self) -> None:
        """Compare what is watched here with the store."""
        self._relay.ask_again()
        try:
            seqs = await self._store.seqs(list(self._wakeups.watches))
        except StoreUnavailable:
            return  # it is said again in a second
        self._wakeups.missed(seqs)
