"""One connection to PostgreSQL: made when it is needed, made anew after it broke, never waited for without an end.

What goes wrong with the database, and not with what we asked of it, is `StoreUnavailable`.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TypeAlias
from urllib.parse import urlsplit

import asyncpg
import msgspec

from outlast.errors import StoreUnavailable

CONNECT_S = 5.0
STATEMENT_S = 10.0
"""A statement that takes longer is given up, and its connection with it: it may be half dead."""
IDLE_S = 2.0
"""A transaction whose process says nothing for so long is ended: it may stand still, and nobody could take up the runs
it has locked. Shorter than the shortest sensible lease."""
HOLD_OFF_S = 0.2
"""After a connection could not be made, nobody tries again for so long."""

SESSION = f"""
SET synchronous_commit = on;
SET default_transaction_isolation = 'read committed';
SET statement_timeout = {round(STATEMENT_S * 1000)};
SET lock_timeout = {round(STATEMENT_S * 500)};
SET idle_in_transaction_session_timeout = {round(IDLE_S * 1000)};
SET plan_cache_mode = force_generic_plan;
SET enable_seqscan = off;
SET enable_bitmapscan = off;
SET enable_hashjoin = off;
SET enable_mergejoin = off;
SET jit = off;
"""
"""Durable whatever the database's default is. A process that is stopped in the middle of a transaction loses it soon,
with its locks. Each query has one good plan, by index, also while statistics are missing or stale."""

Link: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

GONE = (
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.LockNotAvailableError,
    OSError,
    TimeoutError,
)
"""The database is away, restarting, full, too slow, or a standby: a new connection may find it better.

Without `asyncpg.DataError`, which is an `InterfaceError` too."""

AGAIN = (asyncpg.DeadlockDetectedError, asyncpg.SerializationError)
"""Two transactions got in each other's way: the same again will do."""


class Address(msgspec.Struct, frozen=True):
    """Where the database is, and whether a connection to it keeps what is set or listened to."""

    url: str
    is_session: bool = True
    """False behind a pooler that hands out connections for one transaction each."""

    @property
    def place(self) -> str:
        """Host and database, as they may be shown: the URL has a password."""
        parts = urlsplit(self.url)
        return f"{parts.hostname or 'the local socket'}{parts.path}"


async def connect(address: Address, *, durable: bool = True) -> Link:
    """A new connection; with `durable` off, its commits are not waited for."""
    link = await asyncpg.connect(
        address.url,
        timeout=CONNECT_S,
        command_timeout=STATEMENT_S,
        statement_cache_size=200 if address.is_session else 0,
        max_cached_statement_lifetime=0,
    )
    try:
        if address.is_session:
            await link.execute(SESSION if durable else SESSION + "SET synchronous_commit = off")
    except BaseException:
        link.terminate()
        raise
    return link


def is_gone(error: BaseException) -> bool:
    """Whether the error is the database's, not that of what was asked."""
    return isinstance(error, GONE) and not isinstance(error, asyncpg.DataError)


def reason(error: BaseException) -> str:
    """What it says, or what it is if it says nothing."""
    return str(error) or type(error).__name__


def unavailable(error: BaseException, doing: str) -> StoreUnavailable:
    return StoreUnavailable(f"The database could not {doing}: {reason(error)}. Try again.")


class Line:
    """A connection that comes back: one user at a time, and whoever finds it broken drops it."""

    def __init__(self, address: Address, *, durable: bool = True) -> None:
        self._address = address
        self._durable = durable
        self._link: Link | None = None
        self._failed: tuple[float, Exception] | None = None

    @property
    def is_made(self) -> bool:
        return self._link is not None and not self._link.is_closed()

    async def link(self) -> Link:
        """The connection, made if need be; `StoreUnavailable` if that fails."""
        if self._link is not None and not self._link.is_closed():
            return self._link
        now = asyncio.get_running_loop().time()
        if self._failed is not None and now - self._failed[0] < HOLD_OFF_S:
            raise unavailable(self._failed[1], "be reached")
        try:
            self._link = await connect(self._address, durable=self._durable)
        except Exception as error:
            self._failed = (asyncio.get_running_loop().time(), error)
            raise unavailable(error, "be reached") from error
        self._failed = None
        return self._link

    def drop(self) -> None:
        """Let the connection go at once, whatever it is doing."""
        link, self._link = self._link, None
        if link is not None:
            link.terminate()

    async def close(self) -> None:
        """Say goodbye, briefly."""
        link, self._link = self._link, None
        if link is not None and not link.is_closed():
            try:
                await link.close(timeout=1)
            except Exception:
                link.terminate()


class Pool:
    """A few lines for reads and for small writes that each are one statement."""

    def __init__(self, address: Address, size: int) -> None:
        self._lines = [Line(address) for _ in range(size)]
        self._free: asyncio.LifoQueue[Line] = asyncio.LifoQueue()
        for line in self._lines:
            self._free.put_nowait(line)

    async def fetch(self, statement: str, *values: object) -> Sequence[asyncpg.Record]:
        """The rows of one statement, which is a transaction of its own.

        If its connection breaks it is tried once more on a new one: so it has to be a statement that may run twice.
        """
        async with self._borrowed() as line:
            was_made = line.is_made
            try:
                return await _fetch(line, statement, values)
            except StoreUnavailable:
                if line.is_made or not was_made:
                    raise
            return await _fetch(line, statement, values)

    @asynccontextmanager
    async def _borrowed(self) -> AsyncIterator[Line]:
        try:
            async with asyncio.timeout(STATEMENT_S):
                line = await self._free.get()
        except TimeoutError as error:
            raise unavailable(error, "be asked in time") from error
        try:
            yield line
        finally:
            self._free.put_nowait(line)

    async def close(self) -> None:
        for line in self._lines:
            await line.close()


async def _fetch(line: Line, statement: str, values: Sequence[object]) -> Sequence[asyncpg.Record]:
    link = await line.link()
    try:
        return await link.fetch(statement, *values)
    except AGAIN as error:
        raise unavailable(error, "do it now") from error
    except Exception as error:
        if not is_gone(error):
            raise
        if isinstance(error, TimeoutError) or link.is_closed():
            line.drop()
        raise unavailable(error, "be read") from error
    except BaseException:
        line.drop()  # the statement may still run; nobody else shall wait for it
        raise
