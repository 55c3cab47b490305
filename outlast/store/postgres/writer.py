"""Group commit on one connection: collects what arrived while the last commit ran, commits once, then answers.

What goes wrong with the database refuses the whole batch. An error of another kind has it tried again one op at a time,
so that a single bad op cannot take its neighbours with it.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

import asyncpg
import msgspec

from outlast import telemetry
from outlast.errors import StoreUnavailable
from outlast.store.postgres.connection import AGAIN, Line, Link, is_gone, unavailable
from outlast.transitions import Transition

BATCH_MAX = 2000
TRIES = 5
"""How often a batch is tried that collides with the transactions of other processes."""

Op = TypeVar("Op")
Answer = object
log = telemetry.get("store")


class Outcome(msgspec.Struct, frozen=True):
    """What a committed batch came to: each op's answer (a refusal is one too), and what was changed, in order."""

    answers: list[Answer]
    transitions: list[Transition]


class Collision(Exception):
    """What the batch wanted to write, another transaction has just written: the same again will find it."""


class CommitUnknown(Exception):
    """The connection broke while the commit was under way: it happened, or it did not."""


class Writer(Generic[Op]):
    """One lane of writes. `transact` does a batch in one transaction and may be called again with the same ops."""

    def __init__(
        self,
        line: Line,
        transact: Callable[[Link, Sequence[Op]], Awaitable[Outcome]],
        on_commit: Callable[[list[Transition]], None],
    ) -> None:
        self._line = line
        self._transact = transact
        self._on_commit = on_commit
        self._waiting: deque[tuple[Op, asyncio.Future[Answer]]] = deque()
        self._arrived = asyncio.Event()
        self._is_stopping = False
        self._refused = 0
        self._task = asyncio.get_running_loop().create_task(self._work())

    async def do(self, op: Op) -> Answer:
        """Hand in a write; returns after its commit. Cancelling the caller does not undo it."""
        if self._is_stopping:
            raise StoreUnavailable("The server is stopping; nothing was written. Try again once it is back.")
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((op, future))
        self._arrived.set()
        return await future

    async def stop(self) -> None:
        """Commit what was handed in, then let the connection go."""
        self._is_stopping = True
        self._arrived.set()
        await self._task
        await self._line.close()

    async def _work(self) -> None:
        while self._waiting or not self._is_stopping:
            if not self._waiting:
                self._arrived.clear()
                await self._arrived.wait()
                continue
            batch = [self._waiting.popleft() for _ in range(min(BATCH_MAX, len(self._waiting)))]
            await self._write(batch)

    async def _write(self, batch: Sequence[tuple[Op, "asyncio.Future[Answer]"]]) -> None:
        try:
            outcome = await self._insist([op for op, _ in batch])
        except StoreUnavailable as error:
            self._note_refusal(str(error), len(batch))
            _answer(batch, [error] * len(batch))
        except Exception as error:
            if len(batch) > 1:
                for one in batch:
                    await self._write([one])
            else:
                log.error("write refused by the database", exc=error)
                _answer(batch, [error])
        else:
            self._note_success()
            self._tell(outcome.transitions)
            _answer(batch, outcome.answers)

    def _note_refusal(self, reason: str, writes: int) -> None:
        """Say it once: a database that is away refuses commits by the hundred."""
        if not self._refused:
            log.error("commits fail", reason=reason, writes=writes)
        self._refused += 1

    def _note_success(self) -> None:
        if self._refused:
            log.warning("commits work again", refused=self._refused)
            self._refused = 0

    def _tell(self, transitions: list[Transition]) -> None:
        try:
            self._on_commit(transitions)
        except Exception as error:  # what is committed has to be answered for, whoever else trips over it
            log.error("a listener broke", exc=error)

    async def _insist(self, ops: Sequence[Op]) -> Outcome:
        """Commit, over collisions with others and over one broken connection; not over a commit of unknown outcome."""
        may_reconnect = True
        tries = 0
        while True:
            was_made = self._line.is_made
            link = await self._line.link()
            try:
                return await self._transact(link, ops)
            except (*AGAIN, Collision) as error:
                tries += 1
                if tries == TRIES:
                    raise unavailable(error, "commit beside all the others") from error
            except CommitUnknown as error:
                self._line.drop()
                raise unavailable(error.__cause__ or error, "say whether it has committed") from error
            except Exception as error:
                if not is_gone(error):
                    raise
                was_broken = link.is_closed() or isinstance(error, asyncpg.InternalClientError)
                self._line.drop()
                if not (was_made and was_broken and may_reconnect):
                    raise unavailable(error, "commit; nothing was accepted") from error
                may_reconnect = False


def _answer(batch: Sequence[tuple[object, "asyncio.Future[Answer]"]], answers: Sequence[Answer]) -> None:
    for (_, future), answer in zip(batch, answers, strict=True):
        if future.done():
            continue
        if isinstance(answer, Exception):
            future.set_exception(answer)
        else:
            future.set_result(answer)
