"""Outlast under measurement: `outlast serve` as users start it, and stores filled before a server opens them."""

import asyncio
import sys
from pathlib import Path

from bench.server import Recipe
from outlast.births import NewRun
from outlast.clock import SystemClock
from outlast.engine import Engine
from outlast.runs import Caller, Isolation, RunRequest
from outlast.store.protocol import Offer
from outlast.store.sqlite import SqliteStore

NAME = "Outlast"
_HERE = Path(__file__).resolve().parent
_SERVE = ["serve", "--host", "127.0.0.1", "--port", "{port}", "--data-dir", "{data}/store"]
_ENV = {"OUTLAST_CONFIG": str(_HERE / "outlast.toml"), "OUTLAST_AGENT_ROOT": str(_HERE)}
_WORKER = "worker_bench"
_BATCH = 1000


def echoing(name: str = NAME) -> Recipe:
    """The server with its defaults; what is submitted is answered with its prompt, in the shared host."""
    command = [str(Path(sys.executable).with_name("outlast")), *_SERVE]
    return Recipe(name, command, b'{"prompt": "Say hello.", "framework": "echo"}', _ENV)


def stamping() -> Recipe:
    """The same, but `echo` answers when its code began to run, on the machine's monotonic clock."""
    command = [sys.executable, str(_HERE / "ours_launcher.py"), *_SERVE]
    return Recipe(NAME, command, b'{"prompt": "Say when.", "framework": "echo"}', _ENV)


def isolated(name: str, agent: str, concurrency: int = 10) -> Recipe:
    """The server with its defaults; what is submitted is a function of `agents.py`, in a process of its own."""
    env = {**_ENV, "OUTLAST_CONCURRENCY": str(concurrency)}
    body = b'{"prompt": "Say when.", "agent": "%s"}' % agent.encode()
    return Recipe(name, echoing().command, body, env)


def fill(data: Path, runs: int) -> None:
    """Put finished runs into the store that a server started on `data` will open."""
    asyncio.run(_fill(data / "store", runs))


async def _fill(folder: Path, runs: int) -> None:
    clock = SystemClock()
    store = SqliteStore(folder, clock)
    engine = Engine(store, clock)
    await store.open()
    for begin in range(0, runs, _BATCH):
        await _finish_some(engine, min(_BATCH, runs - begin))
    await engine.retire(_WORKER)
    await store.close()


async def _finish_some(engine: Engine, count: int) -> None:
    request = RunRequest(prompt="Say hello.", runner="echo", framework="echo")
    new = NewRun(request=request, kind=Isolation.SHARED, timeout_s=3600)
    await asyncio.gather(*(engine.submit(Caller(), new) for _ in range(count)))
    await engine.beat(_WORKER, 60.0)
    claimed = await engine.claim(Offer(_WORKER, Isolation.SHARED, frozenset({"echo"}), count))
    runs = [one.run for one in claimed]
    await asyncio.gather(*(engine.succeed(run, run.attempt_id or "", b'"Say hello."') for run in runs))
