"""A worker at work: a real store, real processes, the system's clock."""

import asyncio
import os
import resource
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import msgspec
import pytest

from outlast.births import NewRun
from outlast.clock import SystemClock
from outlast.config import Settings
from outlast.engine import Engine
from outlast.runners import command
from outlast.runners.protocol import Prepared, Runner, Submission
from outlast.runs import Caller, Event, EventKind, Isolation, Program, Retry, Run, RunRequest, RunState
from outlast.store.sqlite import SqliteStore
from outlast.worker import marks, processes
from outlast.worker.loop import Worker
from tests import invariants

ME = Caller()


class Grant(msgspec.Struct, frozen=True):
    base_url: str
    token: str


class Access:
    """A gateway that leads nowhere and remembers what it was asked."""

    def __init__(self) -> None:
        self.granted: list[str] = []
        self.revoked: set[str] = set()
        self.settled: set[str] = set()
        self.has_calls = False
        """Whether attempts have a call in flight that does not end by itself."""
        self._ends: dict[str, asyncio.Event] = {}
        self.why: str | None = None

    def grant(self, run: Run, attempt_id: str, model: str | None, holds: Callable[[], bool]) -> Grant:
        self.granted.append(attempt_id)
        return Grant("http://127.0.0.1:9/v1", f"token-of-{attempt_id}")

    async def settle(self, attempt_id: str, *, until_it_asks: bool = False) -> None:
        self.settled.add(attempt_id)
        if until_it_asks or self.has_calls:
            await self._end_of(attempt_id).wait()

    def come_to_an_end(self) -> None:
        """The calls in flight."""
        for end in self._ends.values():
            end.set()

    def revoke(self, attempt_id: str) -> None:
        self.revoked.add(attempt_id)
        self._end_of(attempt_id).set()

    def _end_of(self, attempt_id: str) -> asyncio.Event:
        return self._ends.setdefault(attempt_id, asyncio.Event())

    def reason(self, attempt_id: str) -> str | None:
        return self.why


def _never(submission: Submission, settings: Settings) -> Prepared:
    raise NotImplementedError


RUNNERS = {
    "wild": Runner(name="wild", version="1", prepare=_never, entry="tests.agents.wild:run"),
    "command": command.RUNNER,
}


class Bench:
    """An engine, a worker, and words for what tests do with them."""

    def __init__(self, store: SqliteStore, settings: Settings) -> None:
        self.store = store
        self.settings = settings
        self.access = Access()
        self.engine = Engine(store, SystemClock())
        self.worker = self.new_worker()

    def new_worker(self, **changes: object) -> Worker:
        settings = msgspec.structs.replace(self.settings, **changes)
        return Worker(self.engine, settings, RUNNERS, self.access, SystemClock(), settings.data_dir)

    async def submit(
        self,
        agent: str,
        prompt: str = "Hello",
        *,
        kind: Isolation = Isolation.ISOLATED,
        timeout_s: int = 60,
        retry: Retry | None = None,
    ) -> str:
        request = RunRequest(prompt=prompt, runner="wild", function=agent)
        new = NewRun(request=request, kind=kind, timeout_s=timeout_s, retry=retry or Retry())
        return (await self.engine.submit(ME, new)).run.id

    async def start(
        self, *argv: str | bytes, prompt: str = "Hello", timeout_s: int = 60, retry: Retry | None = None
    ) -> str:
        """A run of this program."""
        program = Program(tuple(os.fsencode(word) for word in argv))
        request = RunRequest(prompt=prompt, runner="command", agent="program", program=program)
        new = NewRun(request=request, kind=Isolation.ISOLATED, timeout_s=timeout_s, retry=retry or Retry())
        return (await self.engine.submit(ME, new)).run.id

    async def shared(self, agent: str, prompt: str = "Hello") -> str:
        return await self.submit(agent, prompt, kind=Isolation.SHARED)

    async def run(self, run_id: str) -> Run:
        return await self.engine.get(ME, run_id)

    async def ended(self, run_id: str, timeout_s: float = 20) -> Run:
        """The run, once it has ended."""
        run = await self.engine.wait(ME, run_id, timeout_s)
        assert run.is_final, f"run is {run.state} after {timeout_s} s; its log: {await self.logs(run_id)}"
        return run

    async def result(
        self, agent: str, prompt: str = "Hello", *, kind: Isolation = Isolation.ISOLATED
    ) -> object:
        """What a run of this agent succeeds with."""
        run = await self.ended(await self.submit(agent, prompt, kind=kind))
        assert run.state is RunState.SUCCEEDED, (run.error, await self.logs(run.id))
        found: object = msgspec.json.decode((await self.engine.result(ME, run.id))[1])
        return found

    async def events(self, run_id: str) -> list[Event]:
        return await self.engine.events(ME, run_id, limit=100_000)

    async def logs(self, run_id: str) -> list[str]:
        events = await self.events(run_id)
        return [msgspec.json.decode(event.data)["message"] for event in events if event.kind is EventKind.LOG]

    async def said(self, run_id: str, word: str = "ready", timeout_s: float = 20) -> str:
        """The first line of the run's log that begins with `word`, once it is there."""
        deadline = time.monotonic() + timeout_s
        with self.engine.watch(run_id) as watch:
            while True:
                for line in await self.logs(run_id):
                    if line.startswith(word):
                        return line
                in_time = await watch.wait(deadline - time.monotonic())
                assert in_time, f"no {word!r} after {timeout_s} s; {await self.run(run_id)}"

    async def ready(self, agent: str, prompt: str = "Hello", *, kind: Isolation = Isolation.ISOLATED) -> str:
        """A run of this agent that does what its name says."""
        run_id = await self.submit(agent, prompt, kind=kind)
        await self.said(run_id)
        return run_id

    async def warm(self) -> None:
        """Until there is one host and one fork server."""
        await until(
            lambda: self.worker.is_warm and len(self.worker.helpers) == 2, 20, "the worker to be warm"
        )

    def left(self) -> set[int]:
        """The processes that agents have, whatever they made of themselves: all that bear the brand but our own."""
        helpers = self.worker.helpers
        folder = self.worker.folder
        return {p for p in _pids() - helpers if marks.bears_brand(p, folder) and not processes.is_dead(p)}

    async def idle(self, timeout_s: float = 5) -> None:
        """Until no attempt is left."""
        await until(lambda: not self.worker.attempts, timeout_s, "the attempts to be gone")


def _pids() -> set[int]:
    return {int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()}


async def until(condition: Callable[[], bool], timeout_s: float, what: str) -> None:
    """Wait for a condition; fail with what was waited for."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"waited {timeout_s} s for {what}"
        await asyncio.sleep(0.01)


def settings_in(folder: Path) -> Settings:
    return Settings(
        data_dir=folder / "data",
        agent_root=folder,
        concurrency=10,
        lease_s=10,
        stop_grace_s=0.5,
        memory_limit_mb=384,
    )


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return settings_in(tmp_path)


@asynccontextmanager
async def at_work(settings: Settings) -> AsyncIterator[Bench]:
    """A worker that has been started; at the end it is drained, and the store's invariants are checked."""
    store = SqliteStore(settings.data_dir, SystemClock())
    await store.open()
    bench = Bench(store, settings)
    await bench.worker.start()
    yield bench
    await bench.worker.drain(0)
    await store.close()
    invariants.check(store.path)


@pytest.fixture
async def bench(settings: Settings) -> AsyncIterator[Bench]:
    async with at_work(settings) as bench:
        yield bench


@contextmanager
def no_file_to_spare() -> Iterator[None]:
    """This process cannot open anything, nor start a process, until the end."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(
        resource.RLIMIT_NOFILE, (max(int(fd.name) for fd in Path("/proc/self/fd").iterdir()) + 1, hard)
    )
    opened: list[int] = []
    try:
        with suppress(OSError):
            while True:
                opened.append(os.open(os.devnull, os.O_RDONLY))
        yield
    finally:
        for fd in opened:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
