"""Gives back what deleted runs leave behind: links and bytes nobody refers to any more. A little at a time."""

from outlast.store.ops import YOUNG_MS
from outlast.store.postgres.connection import Pool
from outlast.store.postgres.statements import sql

_START = "", b""


class Sweep:
    """Looks at the next stretch of a table with each call, from the start again after the last."""

    def __init__(self, statement: str) -> None:
        self._statement = statement
        self._after = _START

    async def go_on(self, pool: Pool) -> None:
        found = await pool.fetch(sql(self._statement), *self._after, YOUNG_MS)
        self._after = (found[0][0], found[0][1]) if found else _START
