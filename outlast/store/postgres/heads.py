"""Reads heads of runs: whoever asks while a query is under way shares the next one.

A head read by another process's leave is old at once, so none is kept; a burst of polls is still one query at a time.
"""

import asyncio

from outlast.runs import Run
from outlast.store import rows
from outlast.store.postgres.connection import Pool
from outlast.store.postgres.statements import sql

ASKED_MAX = 1000


class Heads:
    """What is asked before a query is sent is answered by it, so a reader sees every commit made before it asked."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._asked: dict[str, asyncio.Future[Run | None]] = {}
        self._task: asyncio.Task[None] | None = None

    async def get(self, run_id: str) -> Run | None:
        """The head, null if there is no such run."""
        future = self._asked.get(run_id)
        if future is None:
            future = self._asked[run_id] = asyncio.get_running_loop().create_future()
            if self._task is None or self._task.done():
                self._task = asyncio.get_running_loop().create_task(self._read())
        return await asyncio.shield(future)

    async def _read(self) -> None:
        while self._asked:
            asked, self._asked = self._asked, {}
            ids = list(asked)
            while ids:
                await self._read_some({run_id: asked[run_id] for run_id in ids[:ASKED_MAX]})
                del ids[:ASKED_MAX]

    async def _read_some(self, asked: dict[str, "asyncio.Future[Run | None]"]) -> None:
        try:
            found = {
                row[0]: rows.read(row) for row in await self._pool.fetch(sql("select_heads"), list(asked))
            }
        except BaseException as error:
            for future in asked.values():
                if isinstance(error, Exception):
                    future.set_exception(error)
                    future.exception()  # those who asked may be gone
                else:
                    future.cancel()
            if not isinstance(error, Exception):
                raise
            return
        for run_id, future in asked.items():
            if not future.done():
                future.set_result(found.get(run_id))
