"""A server's own worker, as a process: it does not start, stands still, is stopped without a drain."""

import asyncio
import os
import signal
import socket
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path

import httpx
import pytest

from outlast import handover
from outlast.clock import SystemClock
from outlast.companion import Companion
from outlast.config import AgentConfig, Settings
from outlast.server import Server
from outlast.worker import marks
from tests.live import Live, descendants, wait_until

pytestmark = pytest.mark.slow

FOR_EVER_S = 600


async def test_a_worker_that_cannot_be_started_is_tried_again_until_it_is_told_to_end(tmp_path: Path) -> None:
    tried = 0

    def admit() -> tuple[socket.socket, int]:
        nonlocal tried
        tried += 1
        raise OSError("too many open files")

    never = Companion(_settings(tmp_path), SystemClock(), admit, lambda pid: asyncio.sleep(0))
    never.start()
    await _until(lambda: tried == 3)

    async with asyncio.timeout(1):  # though it is in a pause of two
        await never.stop()

    assert tried == 3


def test_a_server_whose_worker_dies_at_its_start_answers_and_ends(tmp_path: Path) -> None:
    temporary, data = tmp_path / "tmp", tmp_path / "data"
    temporary.mkdir()
    data.mkdir()
    (temporary / f"outlast-{os.getuid()}-{marks.folder_id(data)[:8]}").touch()  # where it wants a folder

    with Live(tmp_path, {"TMPDIR": str(temporary)}) as live:
        wait_until(lambda: live.log.read_text().count("the worker died") >= 2, 30, lambda: "it to die twice")
        live.submit(prompt="Later", framework="echo")

        assert live.http.get("/health").status_code == 200
        assert live.terminate() == 0


async def test_a_stop_without_a_drain_hands_runs_back(tmp_path: Path) -> None:
    async with _serving(_settings(tmp_path)) as server:
        job_id = await _running(server)

    assert _head(tmp_path, job_id) == ("queued", 1, 0)


async def test_a_worker_that_stands_still_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handover, "STILL_S", 2.0)
    async with _serving(_settings(tmp_path, lease_s=2.0)) as server:
        job_id = await _running(server)
        (worker,) = [pid for pid in descendants(os.getpid()) if _name(pid) == "outlast-worker"]

        os.kill(worker, signal.SIGSTOP)
        await _until(lambda: _head(tmp_path, job_id)[:2] == ("running", 2))

        assert worker not in descendants(os.getpid())


@asynccontextmanager
async def _serving(settings: Settings) -> AsyncIterator[Server]:
    server = Server(settings)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


def _name(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text().strip()


def _settings(folder: Path, lease_s: float = 30.0) -> Settings:
    return Settings(
        data_dir=folder / "data",
        agent_root=Path(__file__).parent / "agents",
        agents={"rests": AgentConfig(function="rude:rests")},
        lease_s=lease_s,
        grace_s=FOR_EVER_S,
        stop_grace_s=0.5,
    )


async def _running(server: Server) -> str:
    """A run that rests until it is stopped, once it does."""
    api = httpx.AsyncClient(transport=httpx.ASGITransport(server.api), base_url="http://127.0.0.1:8005")
    async with api:
        answer = await api.post("/api/v1/runs", json={"agent": "rests", "prompt": str(FOR_EVER_S)})
    assert answer.status_code == 202, answer.text
    job_id: str = answer.json()["job_id"]
    await _until(lambda: _head(server.settings.data_dir.parent, job_id)[0] == "running")
    return job_id


def _head(folder: Path, job_id: str) -> tuple[str, int, int]:
    """The run's state, attempts and counted losses, as they are on disk."""
    with closing(sqlite3.connect(f"file:{folder}/data/outlast.db?mode=ro", uri=True)) as database:
        row: tuple[str, int, int] = database.execute(
            "SELECT state, attempt, lost FROM runs WHERE id = ?", (job_id,)
        ).fetchone()
    return row


async def _until(condition: Callable[[], bool], timeout_s: float = 30) -> None:
    async with asyncio.timeout(timeout_s):
        while True:
            if condition():
                return
            await asyncio.sleep(0.02)
