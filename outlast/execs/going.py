"""Carries out one run of `outlast exec` in this process, until it ends or somebody stops it.

The process is owner of the run's store, its worker and its gateway. If it is killed, all that it has started dies, and
the store knows where to go on.
"""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import msgspec
import uvicorn

from outlast.clock import SystemClock
from outlast.config import AgentConfig, Settings
from outlast.engine import Engine
from outlast.errors import Refused, StoreOwned
from outlast.execs.folder import Folder
from outlast.runners import command
from outlast.runners.protocol import Terminal
from outlast.runs import Caller, Run, RunState
from outlast.store.sqlite import SqliteStore
from outlast.worker import processes
from outlast.workplace import Workplace

ME = Caller()
LOOK_S = 1.0
"""How often it is seen whether the folder is still there."""
AGENT = "exec"
LEASE_S = 366 * 86_400.0
"""Nobody waits for the lease of a store's one owner to end; and a laptop may sleep."""
CANCEL = signal.SIGUSR1
STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_STDIN, _STDOUT, _STDERR = 0, 1, 2
_OTHER_KEYS = frozenset({"ANTHROPIC_AUTH_TOKEN"})
"""What a provider's client would send instead of the run's token."""

Begin = Callable[[Engine], Awaitable[str]]
"""Says which run to go on with; may hand it in."""


class Left(msgspec.Struct, frozen=True):
    """How it was when this process let go of it."""

    run: Run
    code: int | None
    """How the last program ended: its exit code, or the negative number of a signal; null if none has."""
    stopped_by: int | None
    """The signal that stopped this process before the run had ended."""


def go_on(folder: Folder, settings: Settings, begin: Begin, say: Callable[[str], None]) -> Left:
    """Carry the run out; `StoreOwned` if another process does."""
    processes.close_to_peers()
    with _terminal() as (terminal, fate):
        going = _Going(folder, _settings_for(folder, settings), terminal, say)
        with asyncio.Runner(loop_factory=uvicorn.Config("").get_loop_factory()) as runner:
            run = runner.run(going.go(begin))
        return Left(run, _last_number(fate), None if run.is_final else going.stopped_by)


class _Going:
    def __init__(
        self, folder: Folder, settings: Settings, terminal: Terminal, say: Callable[[str], None]
    ) -> None:
        self._folder = folder
        self._say = say
        self._workplace = Workplace(
            settings,
            SqliteStore(settings.data_dir, SystemClock()),
            runners=(command.RUNNER,),
            terminal=terminal,
        )
        self._is_cancelled = False
        self._look_up: Callable[[], None] = lambda: None
        self.stopped_by: int | None = None

    async def go(self, begin: Begin) -> Run:
        loop = asyncio.get_running_loop()
        for number in STOPS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                loop.add_signal_handler(number, self._stop, number)
        loop.add_signal_handler(CANCEL, self._cancel)
        try:
            await self._workplace.start()
        except StoreOwned as owned:
            raise self._folder.is_taken() from owned
        try:
            self._folder.sign()
            run_id = await begin(self._workplace.engine)
            self._say(f"this is {run_id}")
            await self._until_over(run_id)
            await self._workplace.drain()
            return await self._workplace.engine.get(ME, run_id)
        finally:
            await self._workplace.stop()

    def _stop(self, number: int) -> None:
        self.stopped_by = number
        self._look_up()

    def _cancel(self) -> None:
        self._is_cancelled = True
        self._look_up()

    async def _until_over(self, run_id: str) -> None:
        engine = self._workplace.engine
        with engine.watch(run_id) as watch:
            self._look_up = watch.hear_nothing
            run = await engine.get(ME, run_id)
            told = run.attempt + 1 if run.attempt_id is None else run.attempt
            while not (run.is_final or run.state is RunState.WAITING) and self.stopped_by is None:
                if self._is_cancelled:
                    await self._end(engine, run_id)
                await watch.wait(LOOK_S)
                self._folder.require(run_id)
                run = watch.run or run
                if run.attempt > told:
                    told = run.attempt
                    self._say(f"attempt {told} of {run_id} begins")

    async def _end(self, engine: Engine, run_id: str) -> None:
        try:
            await engine.cancel(ME, run_id)
        except Refused:
            pass  # it has just ended


def _settings_for(folder: Folder, settings: Settings) -> Settings:
    """One run at a time, in its own folder, with all that the user has in their environment but the provider's keys."""
    return msgspec.structs.replace(
        settings,
        data_dir=folder.path,
        database_url=None,
        agent_root=folder.path,
        agents={AGENT: AgentConfig(command=(AGENT,), env=_environment(settings))},
        lease_s=LEASE_S,
        grace_s=0,
        shared_hosts=0,
        concurrency=1,
        memory_limit_mb=0,
        queues=(),
        session_concurrency=None,
        tenant_concurrency=None,
    )


def _environment(settings: Settings) -> dict[str, str]:
    """Without the provider's keys, under whatever name they are."""
    keys = settings.provider_keys
    return {k: v for k, v in os.environ.items() if v not in keys and k not in _OTHER_KEYS}


@contextmanager
def _terminal() -> Iterator[tuple[Terminal, int]]:
    """This process's own, and where the programs' ends can be read."""
    fate, told = os.pipe()
    os.set_blocking(fate, False)
    terminal = Terminal(_stdin(), os.dup(_STDOUT), os.dup(_STDERR), told)
    try:
        yield terminal, fate
    finally:
        for fd in (*msgspec.structs.astuple(terminal), fate):
            os.close(fd)


def _stdin() -> int:
    """Ours; nothing, if this runs in the background of a shell: what is typed is for others then."""
    try:
        if os.isatty(_STDIN) and os.tcgetpgrp(_STDIN) != os.getpgrp():
            return os.open(os.devnull, os.O_RDONLY)
    except OSError:
        pass  # a terminal that is not this session's own
    return os.dup(_STDIN)


def _last_number(fate: int) -> int | None:
    try:
        return int(os.read(fate, 4096).split()[-1])
    except (BlockingIOError, IndexError):
        return None
