"""A store as it was at one moment, to be looked at and not changed, beside whoever writes to it."""

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from outlast.errors import OutlastError
from outlast.store.migrate import Lag
from outlast.store.queries import Value

Rows = list[tuple[object, ...]]

QUERY_S = 30.0
"""What one query may take; a full store must not be kept busy by somebody who only looks."""


class TookTooLong(OutlastError):
    """A query was given up."""

    code = "took_too_long"


class Snapshot(Protocol):
    """What a look sees: all rows of one moment, whatever is committed meanwhile."""

    now: int
    """When, by the clock of the store."""
    lag: Lag
    """How far its schema is behind."""

    async def rows(self, query: str, *values: Value) -> Rows:
        """The rows of a query that both databases understand; `TookTooLong` after `QUERY_S`.

        `?1` is the first of the values. What they do not say alike has a word: `:places`, `:ready`, and `:main` before
        the name of a table that the query itself gives another meaning.
        """
        ...


class Sight(Protocol):
    """How a store is looked at."""

    @property
    def place(self) -> str:
        """Where it is, as it may be shown."""
        ...

    def look(self) -> AbstractAsyncContextManager[Snapshot]:
        """Take a snapshot; `ConfigError` or `StoreUnavailable` if there is none to be had."""
        ...


def written(query: str, words: Mapping[str, str]) -> str:
    """The query in a dialect's words."""
    for word, meaning in words.items():
        query = query.replace(word, meaning)
    return query
