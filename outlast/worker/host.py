"""A shared host: one asyncio process that carries many runs of code that is safe there.

It holds no key; each run has its own token. The parent pings it, and kills it when its loop no longer turns; it dies
with its parent. What one run does, short of blocking the loop or crashing the interpreter, touches no other.
"""

import asyncio
import importlib
import os
import socket
import sys
import threading
from collections.abc import Callable
from functools import partial

import msgspec

from outlast.clock import SystemClock
from outlast.runners.protocol import (
    Done,
    Failed,
    Ping,
    Pong,
    Ready,
    RunFunction,
    Start,
    Stop,
    Stopped,
    ToChild,
    ToParent,
)
from outlast.worker import marks, processes
from outlast.worker.context import RunContext, job_of
from outlast.worker.link import TO_CHILD, Link
from outlast.worker.outcome import broken, carry, loaded

NICE = 10

Outcome = Done | Failed


def main(fd: str, parent: str, folder: str, *preload: str) -> None:
    """What the process does from exec to its end."""
    processes.die_with(int(parent))
    processes.name("outlast-host")
    processes.heed_nobody()
    processes.forbid_core_dumps()
    marks.brand(folder)
    os.nice(NICE)
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    loop.run_until_complete(_open(socket.socket(fileno=int(fd))))
    threading.Thread(target=warm, args=(preload,), daemon=True).start()
    while True:
        try:
            loop.run_forever()
        except SystemExit:
            continue  # asyncio lets a task's sys.exit out of the loop; it is that run's affair, not ours


def warm(modules: tuple[str, ...]) -> None:
    """Import what the first run would wait for; what cannot be imported will tell that run."""
    for module in modules:
        try:
            importlib.import_module(module)
        except Exception as error:
            print(f"outlast: {module} could not be preloaded: {error!r}", file=sys.stderr)  # noqa: T201


async def _open(end: socket.socket) -> None:
    Host(end)


class Host:
    """The runs of this process."""

    def __init__(self, end: socket.socket) -> None:
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._clock = SystemClock()
        self._link: Link[ToParent, ToChild] = Link(end, TO_CHILD, self._hear, lambda: os._exit(0))
        self._tasks: dict[str, asyncio.Task[Outcome]] = {}
        self._told: set[str] = set()
        self._functions: dict[str, RunFunction] = {}
        self._link.send(Ready(os.getpid()))

    def _hear(self, frames: list[ToChild]) -> None:
        for frame in frames:
            match frame:
                case Start():
                    self._start(frame)
                case Stop(attempt_id=attempt_id):
                    self._stop(attempt_id)
                case Ping(n=n):
                    self._link.send(Pong(n))

    def _start(self, start: Start) -> None:
        try:
            context = RunContext(job_of(start), self._send, self._later, self._clock)
        except msgspec.MsgspecError as error:
            self._link.send(broken(start.attempt_id, error))
            return
        task = self._loop.create_task(carry(context.job, partial(self._load, start.entry), context))
        self._tasks[start.attempt_id] = task
        task.add_done_callback(partial(self._ended, context))

    async def _load(self, entry: str) -> RunFunction:
        """The runner's function; imported in a thread, so that a heavy one holds up nobody else."""
        function = self._functions.get(entry)
        if function is None:
            function = self._functions[entry] = await asyncio.to_thread(loaded, entry)
        return function

    def _stop(self, attempt_id: str) -> None:
        task = self._tasks.get(attempt_id)
        if task is None:
            self._link.send(Stopped(attempt_id))
        else:
            self._told.add(attempt_id)
            task.cancel()

    def _ended(self, context: RunContext, task: asyncio.Task[Outcome]) -> None:
        attempt_id = context.job.attempt_id
        del self._tasks[attempt_id]
        context.end()
        if attempt_id in self._told:
            self._told.discard(attempt_id)
            self._link.send(Stopped(attempt_id))
        else:
            self._link.send(_outcome(attempt_id, task))

    def _send(self, frame: ToParent) -> None:
        if threading.get_ident() == self._thread:
            self._link.send(frame)
        else:
            self._loop.call_soon_threadsafe(self._link.send, frame)

    def _later(self, seconds: float, call: Callable[[], None]) -> None:
        if threading.get_ident() == self._thread:
            self._loop.call_later(seconds, call)
        else:
            self._loop.call_soon_threadsafe(self._loop.call_later, seconds, call)


def _outcome(attempt_id: str, task: asyncio.Task[Outcome]) -> Outcome:
    if task.cancelled():
        return broken(attempt_id, asyncio.CancelledError("the agent cancelled itself"))
    error = task.exception()
    return task.result() if error is None else broken(attempt_id, error)
