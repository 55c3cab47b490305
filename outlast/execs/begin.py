"""How a run of `outlast exec` comes to be: handed in for the first time, gone on with, or ended from outside."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from outlast import __version__
from outlast.births import NewRun
from outlast.clock import Clock, Ids, SystemClock
from outlast.config import Settings
from outlast.engine import Engine
from outlast.errors import ConfigError, Refused, RunNotFound, StoreOwned
from outlast.execs.folder import Folder, place
from outlast.execs.going import AGENT, CANCEL, ME, Begin
from outlast.runs import Isolation, JournalMode, Program, Retry, RunRequest
from outlast.steps import Answer
from outlast.store.protocol import Page, RunFilter
from outlast.store.sqlite import SqliteStore
from outlast.worker import marks, processes

UNLIMITED_S = 10 * 366 * 86_400
CANCELLED_S = 15.0
_LOOK_S = 0.05


def new_folder(settings: Settings) -> Folder:
    """A folder under a new run's id; `ConfigError` if it cannot be made."""
    path = place(settings.data_dir) / Ids(SystemClock()).new("run")
    try:
        path.mkdir(parents=True, mode=0o700)
    except OSError as error:
        raise ConfigError(
            f"The folder {path} cannot be made: {error.strerror}. Name another data folder with --data-dir or "
            "OUTLAST_DATA_DIR."
        ) from error
    return Folder(path)


def asked(argv: Sequence[str], *, model: str | None, timeout_s: int | None, retries: int) -> NewRun:
    """The run that starts this program here."""
    program = Program(tuple(map(os.fsencode, argv)), os.fsencode(Path.cwd()), is_local=True)
    line = " ".join(argv).encode("utf-8", "replace").decode()
    request = RunRequest(
        prompt=line,
        runner="command",
        runner_version=__version__,
        framework="command",
        agent=AGENT,
        model=model,
        program=program,
    )
    return NewRun(
        request=request,
        kind=Isolation.ISOLATED,
        timeout_s=timeout_s or UNLIMITED_S,
        retry=Retry(max_attempts=retries + 1),
    )


def first(folder: Folder, new: NewRun) -> Begin:
    """Hand the run in, under the folder's name."""

    async def begin(engine: Engine) -> str:
        return (await engine.submit(ME, new, folder.path.name)).run.id

    return begin


async def newest(engine: Engine) -> str:
    """The folder's newest run; if it has ended, one that goes on from where it was."""
    runs = (await engine.list_runs(ME, RunFilter(), Page(size=1))).runs
    if not runs:
        raise RunNotFound("This run was interrupted before it was handed in; start the program again.")
    if not runs[0].is_final:
        return runs[0].id
    return (await engine.retry(ME, runs[0].id, JournalMode.RESUME)).run.id


def known(run_id: str) -> Begin:
    """Just this one, handed in by another process; there is nothing to do if it has ended meanwhile."""

    async def begin(engine: Engine) -> str:
        return run_id

    return begin


def answered(answer: Answer) -> Begin:
    """As `newest`, once the step that it waits for is settled: one that may have been done, and nobody knows."""

    async def begin(engine: Engine) -> str:
        run = await engine.get(ME, await newest(engine))
        if run.waiting_kind == "tool" and run.waiting is not None:
            step = msgspec.json.decode(run.waiting, type=_Waiting).step
            result = b"null" if answer is Answer.SKIP else None
            error = "It was said to have failed." if answer is Answer.FAIL else None
            await engine.steps.answer(ME, run.id, step, answer, result, error)
        return run.id

    return begin


class _Waiting(msgspec.Struct):
    """What a run over a step says that it waits for."""

    step: str


async def hand_in(folder: Folder, begin: Begin) -> str:
    """Only that, for another process to carry out; the run's id."""
    async with _opened(folder) as engine:
        return await begin(engine)


@asynccontextmanager
async def _opened(folder: Folder) -> AsyncIterator[Engine]:
    """The folder's store, to change it without carrying anything out; `StoreOwned` if another process does."""
    store = SqliteStore(folder.path, SystemClock())
    engine = Engine(store, SystemClock())
    try:
        await store.open()
    except StoreOwned as owned:
        raise folder.is_taken() from owned
    try:
        yield engine
    finally:
        await store.close()


async def cancel(folder: Folder, clock: Clock) -> bool:
    """End the run and all its processes, whoever carries it out; False if it had ended before."""
    seen = await folder.look(clock)
    if seen is None or seen.has_ended:
        return False
    if folder.owner() is None:
        return await _cancel_ourselves(folder)
    deadline = clock.monotonic() + CANCELLED_S
    while (owner := folder.owner()) is not None:
        if owner:
            late = clock.monotonic() > deadline  # it stands still; if it is killed, its processes die with it
            processes.send(owner, signal.SIGKILL if late else CANCEL)
        await asyncio.sleep(_LOOK_S)
    seen = await folder.look(clock)
    return seen is not None and (seen.status == "cancelled" or await cancel(folder, clock))


async def _cancel_ourselves(folder: Folder) -> bool:
    """Nobody carries it out: what a killed process may have left is ended first."""
    try:
        async with _opened(folder) as engine:
            await asyncio.to_thread(processes.sweep, marks.folder_id(folder.path))
            runs = (await engine.list_runs(ME, RunFilter(), Page(size=1))).runs
            await engine.cancel(ME, runs[0].id)
    except StoreOwned:
        return await cancel(folder, SystemClock())
    except Refused:
        return False
    return True
