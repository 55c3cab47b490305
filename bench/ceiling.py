"""The ceiling: what two bare raw-ASGI routes on the same uvicorn reach, with nothing between them and SQLite.

A submit is one row, committed with WAL and `synchronous=FULL` together with those that arrived meanwhile; a GET is
a constant. Nothing is checked, routed or run. Run as `python -m bench.ceiling PORT DATABASE`.
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

import uvicorn
from starlette.types import Receive, Scope, Send

from bench.server import Recipe

NAME = "ceiling"
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


def _tell(waiters: list[asyncio.Future[None]]) -> None:
    for waiter in waiters:
        waiter.set_result(None)


class Ceiling:
    """The application."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._writer: Writer | None = None

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
        self._writer = self._writer or Writer(self._path)
        run_id = os.urandom(12).hex()
        await self._writer.insert(run_id, body)
        return b'{"job_id":"%s","status":"queued"}' % run_id.encode()


async def _answer(send: Send, status: int, body: bytes) -> None:
    headers = [_JSON, (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def recipe() -> Recipe:
    """How to start the ceiling."""
    root = Path(__file__).resolve().parent.parent
    command = [sys.executable, "-m", "bench.ceiling", "{port}", "{data}/ceiling.sqlite3"]
    return Recipe(NAME, command, b'{"prompt": "Say hello."}', {"PYTHONPATH": str(root)})


def main() -> None:
    port, path = int(sys.argv[1]), sys.argv[2]
    uvicorn.run(Ceiling(path), port=port, lifespan="off", log_level="warning", access_log=False)


if __name__ == "__main__":
    main()
