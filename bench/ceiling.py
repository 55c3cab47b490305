"""The ceiling: what two bare raw-ASGI routes on the same uvicorn reach, with nothing between them and SQLite.

A submit is one row, committed with WAL and `synchronous=FULL` together with those that arrived meanwhile; a GET is
a constant. Nothing is checked, routed or run. Run as `python -m bench.ceiling PORT DATABASE`. Where the database is a
`postgresql://…`, the rows go there, over one connection with `synchronous_commit=on`.
"""

import asyncio
import json
import os
import queue
import sqlite3
import sys
import threading
from collections.abc import MutableMapping
from pathlib import Path

import asyncpg
import uvicorn
from starlette.types import Receive, Scope, Send

from bench.server import Recipe

NAME = "ceiling"
ON_POSTGRES = "bare app on PostgreSQL"
_JSON = (b"content-type", b"application/json")
_STATUS = json.dumps(
    {
        "job_id": "run_1",
        "status": "succeeded",
        "progress": {"percentage": 100},
        "created_at": "2026-01-01T00:00:00Z",
    }
).encode()


class Writer:
    """One thread that commits whatever has been handed in since it began its last commit."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._rows: queue.SimpleQueue[tuple[str, bytes, asyncio.Future[None]]] = queue.SimpleQueue()
        self._loop = asyncio.get_running_loop()
        threading.Thread(target=self._run, daemon=True).start()

    async def insert(self, run_id: str, body: bytes) -> None:
        """Returns when the row is on disk."""
        done: asyncio.Future[None] = self._loop.create_future()
        self._rows.put((run_id, body, done))
        await done

    def _run(self) -> None:
        with sqlite3.connect(self._path, isolation_level=None) as database:
            database.execute("PRAGMA journal_mode=WAL")
            database.execute("PRAGMA synchronous=FULL")
            database.execute("CREATE TABLE IF NOT EXISTS runs (id TEXT PRIMARY KEY, body BLOB) WITHOUT ROWID")
            while True:
                batch = [self._rows.get()]
                while not self._rows.empty():
                    batch.append(self._rows.get())
                database.execute("BEGIN")
                database.executemany("INSERT INTO runs VALUES (?, ?)", [row[:2] for row in batch])
                database.execute("COMMIT")
                self._loop.call_soon_threadsafe(_tell, [row[2] for row in batch])


class PostgresWriter:
    """The same on PostgreSQL: one task, one connection, one statement for whatever has been handed in."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._rows: list[tuple[str, bytes, asyncio.Future[None]]] = []
        self._arrived = asyncio.Event()
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def insert(self, run_id: str, body: bytes) -> None:
        """Returns when the row is on disk."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._rows.append((run_id, body, done))
        self._arrived.set()
        await done

    async def _run(self) -> None:
        link = await asyncpg.connect(self._url, server_settings={"synchronous_commit": "on"})
        await link.execute("CREATE TABLE IF NOT EXISTS runs (id text PRIMARY KEY, body bytea)")
        insert = await link.prepare("INSERT INTO runs SELECT * FROM unnest($1::text[], $2::bytea[])")
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            batch, self._rows = self._rows, []
            await insert.fetch([row[0] for row in batch], [row[1] for row in batch])
            _tell([row[2] for row in batch])


def _tell(waiters: list[asyncio.Future[None]]) -> None:
    for waiter in waiters:
        waiter.set_result(None)


class Ceiling:
    """The application."""

    def __init__(self, database: str) -> None:
        self._database = database
        self._writer: Writer | PostgresWriter | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        if scope["method"] == "POST":
            await _answer(send, 202, await self._submit(receive))
        else:
            await _answer(send, 200, _STATUS)

    async def _submit(self, receive: Receive) -> bytes:
        message: MutableMapping[str, object] = await receive()
        body = message["body"]
        assert isinstance(body, bytes)
        json.loads(body)
        if self._writer is None:
            is_url = self._database.startswith("postgresql://")
            self._writer = PostgresWriter(self._database) if is_url else Writer(self._database)
        run_id = os.urandom(12).hex()
        await self._writer.insert(run_id, body)
        return b'{"job_id":"%s","status":"queued"}' % run_id.encode()


async def _answer(send: Send, status: int, body: bytes) -> None:
    headers = [_JSON, (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def recipe() -> Recipe:
    """How to start the ceiling."""
    return _recipe(NAME, "{data}/ceiling.sqlite3")


def on_postgres(url: str) -> Recipe:
    """How to start it on a PostgreSQL."""
    return _recipe(ON_POSTGRES, url)


def _recipe(name: str, database: str) -> Recipe:
    root = Path(__file__).resolve().parent.parent
    command = [sys.executable, "-m", "bench.ceiling", "{port}", database]
    return Recipe(name, command, b'{"prompt": "Say hello."}', {"PYTHONPATH": str(root)})


def main() -> None:
    port, database = int(sys.argv[1]), sys.argv[2]
    uvicorn.run(Ceiling(database), port=port, lifespan="off", log_level="warning", access_log=False)


if __name__ == "__main__":
    main()
