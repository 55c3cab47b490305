"""Something there is only so much of, shared out first come, first served: places for calls, memory for bodies."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager


class Full(Exception):
    """There was no share to be had in time."""


class Room:
    """`async with room.share(3):` waits until there are three to be had. What asks for more than all gets all."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._free = size
        self._queue: deque[tuple[int, asyncio.Future[None]]] = deque()

    @property
    def waiting(self) -> int:
        """How many wait for their share."""
        return len(self._queue)

    @property
    def is_taken(self) -> bool:
        """Whoever asks now has to wait."""
        return self._free <= 0 or bool(self._queue)

    @asynccontextmanager
    async def share(self, amount: int, *, within_s: float | None = None) -> AsyncGenerator["Share", None]:
        """Hold so much until the end of the block; `Full` if it is not to be had in time."""
        share = Share(self, min(amount, self._size))
        try:
            async with asyncio.timeout(within_s):
                await self._take(share.amount)
        except TimeoutError as error:
            raise Full from error
        try:
            yield share
        finally:
            self._give(share.amount)

    async def _take(self, amount: int) -> None:
        if not self._queue and amount <= self._free:
            self._free -= amount
            return
        turn = asyncio.get_running_loop().create_future()
        entry = (amount, turn)
        self._queue.append(entry)
        try:
            await turn
        except BaseException:
            if entry in self._queue:
                self._queue.remove(entry)
                self._give(0)  # whoever stood behind it may fit
            elif not turn.cancelled():
                self._give(amount)  # its turn had come just then
            raise

    def _give(self, amount: int) -> None:
        self._free += amount
        while self._queue and self._queue[0][0] <= self._free:
            wanted, turn = self._queue.popleft()
            if not turn.done():
                self._free -= wanted
                turn.set_result(None)


class Share:
    """What one holds of a room."""

    def __init__(self, room: Room, amount: int) -> None:
        self._room = room
        self.amount = amount

    def shrink(self, amount: int) -> None:
        """Give back what is held beyond so much."""
        spare = max(0, self.amount - amount)
        self.amount -= spare
        self._room._give(spare)
