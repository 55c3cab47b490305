"""Looks at the shared store in a transaction that reads one snapshot and cannot write."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from outlast.store.invariants import PLACES
from outlast.store.migrate import Lag
from outlast.store.postgres.connection import Address, Link
from outlast.store.postgres.schema import lag_of, visit
from outlast.store.queries import Value
from outlast.store.snapshot import QUERY_S, Rows, TookTooLong, written

WORDS = {":places": PLACES["postgres"], ":ready": "ready", ":main": "outlast.", "?": "$"}
SETTINGS = f"""
SET LOCAL statement_timeout = {round(QUERY_S * 1000)};
SET LOCAL idle_in_transaction_session_timeout = 60000;
SET LOCAL search_path = outlast;
SET LOCAL enable_seqscan = on;
SET LOCAL enable_bitmapscan = on;
"""


class PostgresSight:
    """`Sight` of a PostgreSQL."""

    def __init__(self, url: str, *, listen: bool = True) -> None:
        self._address = Address(url, is_session=listen)

    @property
    def place(self) -> str:
        return f"PostgreSQL {self._address.place}"

    @asynccontextmanager
    async def look(self) -> "AsyncIterator[PostgresSnapshot]":
        async with (
            visit(self._address) as link,
            link.transaction(isolation="repeatable_read", readonly=True),
        ):
            await link.execute(SETTINGS)
            lag = await lag_of(link)
            now = await link.fetchval("SELECT outlast.outlast_now()") if lag.version else 0
            yield PostgresSnapshot(link, lag, now)


class PostgresSnapshot:
    """`Snapshot` of a PostgreSQL."""

    def __init__(self, link: Link, lag: Lag, now: int) -> None:
        self._link = link
        self.lag = lag
        self.now = now

    async def rows(self, query: str, *values: Value) -> Rows:
        try:
            async with self._link.transaction():
                found = await self._link.fetch(written(query, WORDS), *values)
        except (asyncpg.QueryCanceledError, TimeoutError) as error:
            raise TookTooLong(f"It took longer than {QUERY_S:g} s") from error
        return [tuple(row) for row in found]
