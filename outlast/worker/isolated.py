"""Isolated attempts: one process each, forked and buried by a fork server.

A fork server that has everything imported takes seconds to start, a bare one a fraction of that; so the bare one comes
first, and gives way when the other is ready. If one dies, its agents die with it; what they started is swept up before
their runs go back to the queue, and another is started.
"""

import asyncio
import shutil
from collections.abc import Callable, Collection, Coroutine, Sequence
from pathlib import Path

import msgspec

from outlast import telemetry
from outlast.runners.protocol import Start, Terminal
from outlast.transitions import Cause
from outlast.wakeups import Bell
from outlast.worker import processes
from outlast.worker.attempt import Attempt
from outlast.worker.forks import Forks

RESTART_S = (0.0, 0.2, 1.0, 5.0)
"""Pauses before a fork server is started again, after so many that did not even open."""
SWEEP_AGAIN_S = 0.5

log = telemetry.get("worker")


class Isolated:
    """The `Place` of all attempts with a process of their own."""

    def __init__(
        self,
        folder: str,
        memory_limit_mb: int,
        scratch: Path,
        preload: Sequence[str],
        spare: Callable[[], Collection[int]],
        on_ready: Callable[[], None],
        terminal: Terminal | None = None,
    ) -> None:
        """`spare` names the processes that a sweep must leave alone; `on_ready` is called when one can fork.

        `terminal` is for the programs of `outlast exec`.
        """
        self._folder = folder
        self._scratch = scratch
        self._keeps = msgspec.structs.astuple(terminal) if terminal is not None else ()
        self._arguments = (str(memory_limit_mb), str(scratch), ",".join(map(str, self._keeps)))
        self._preload = tuple(preload)
        self._spare = spare
        self._on_ready = on_ready
        self._servers: list[Forks] = []
        self._newest: Forks | None = None
        """The one that new attempts go to."""
        self._failed_starts = 0
        self._waiting: dict[str, tuple[Attempt, Start]] = {}
        self._is_closing = False
        self._work: set[asyncio.Task[None]] = set()
        self._changed = Bell()

    @property
    def pids(self) -> set[int]:
        return {server.pid for server in self._servers}

    @property
    def is_ready(self) -> bool:
        """Whether an attempt would be forked at once."""
        return self._newest is not None

    @property
    def is_warm(self) -> bool:
        """Whether the one fork server there is has everything imported."""
        return self._newest is not None and self._servers == [self._newest] and self._is_full(self._newest)

    def _is_full(self, server: Forks) -> bool:
        return server.has_preloaded or not self._preload

    def start(self) -> None:
        """Start a fork server; attempts wait until it is open."""
        if not self._is_closing:
            self._start_server(())

    def _start_server(self, preload: tuple[str, ...]) -> None:
        arguments = (*self._arguments, *preload)
        server = Forks(self._folder, arguments, self._opened, self._tidy_after, self._exited, self._keeps)
        server.has_preloaded = bool(preload)
        self._servers.append(server)

    def carry(self, attempt: Attempt, start: Start) -> None:
        """Start an attempt in a process of its own."""
        attempt.place = self
        if self._newest is None:
            self._waiting[attempt.id] = attempt, start
        else:
            self._newest.fork(attempt, start)

    def stop(self, attempt_id: str, *, grace_s: float) -> None:
        """Tell the attempt's process to end; after the grace everything below it is killed."""
        waiting = self._waiting.pop(attempt_id, None)
        if waiting is not None:
            waiting[0].gone(Cause.WORKER)
        for server in self._servers:
            if attempt_id in server.attempts:
                server.stop(attempt_id, grace_s)

    def tick(self) -> None:
        """Once a second."""
        for server in list(self._servers):
            server.tick()

    async def close(self) -> None:
        """End the fork servers and with them everything they have; returns when that is done."""
        self._is_closing = True
        for server in self._servers:
            server.close()
        while self._servers or self._work:
            await self._changed.wait()

    def _opened(self, server: Forks) -> None:
        self._failed_starts = 0
        before, self._newest = self._newest, server
        if before is None and self._preload:
            self._restart()
        elif before is not None:
            self._retire(before)
        waiting, self._waiting = self._waiting, {}
        for attempt, start in waiting.values():
            try:
                server.fork(attempt, start)
            except OSError as error:
                log.error("an attempt could not be started", exc=error, run_id=attempt.run.id)
                attempt.gone(Cause.WORKER)
        self._on_ready()

    def _retire(self, server: Forks) -> None:
        """Close a fork server that is not the newest, once it has no attempt."""
        if server is not self._newest and not server.attempts:
            server.close()

    def _tidy_after(self, server: Forks, attempt_id: str) -> None:
        self._retire(server)
        self._tidy(attempt_id)

    def _tidy(self, attempt_id: str) -> None:
        """Remove the attempt's temporary files: an empty folder at once, anything else in a thread."""
        scratch = self._scratch / attempt_id
        try:
            scratch.rmdir()
        except FileNotFoundError:
            pass  # it never came so far
        except OSError:
            self._spawn(asyncio.to_thread(shutil.rmtree, scratch, ignore_errors=True))

    def _exited(self, server: Forks) -> None:
        self._servers.remove(server)
        self._changed.ring()
        was_needed = server is self._newest or not server.is_open
        if server is self._newest:
            self._newest = next(
                (other for other in self._servers if other.is_open and not other.is_closing), None
            )
        self._spawn(self._clear_up_after(server, was_needed))

    async def _clear_up_after(self, server: Forks, was_needed: bool) -> None:
        """Make sure that nothing of its attempts is left, let them go, and start another if need be."""
        if server.attempts or not server.is_closing:
            await self._sweep()
        attempts, server.attempts = server.attempts, {}
        for attempt_id, process in attempts.items():
            process.over(None)
            self._tidy(attempt_id)
        if was_needed and not server.is_closing and not self._is_closing:
            self._failed_starts += not server.is_open
            self._restart_later()

    async def _sweep(self) -> None:
        """No run goes back to the queue before this has succeeded: its old agent could still be at work."""
        while True:
            try:
                await asyncio.to_thread(
                    processes.sweep, self._folder, spare=lambda: {*self._spare(), *self.pids}
                )
                return
            except OSError as error:
                log.error("what a fork server left could not be looked for", exc=error)
            if self._is_closing:
                return  # the next start sweeps before it takes up a run
            await asyncio.sleep(SWEEP_AGAIN_S)

    def _restart_later(self) -> None:
        pause_s = RESTART_S[min(self._failed_starts, len(RESTART_S) - 1)]
        asyncio.get_running_loop().call_later(pause_s, self._restart)

    def _restart(self) -> None:
        """Start what is missing; again and again, if the machine has no process or file to spare just now."""
        try:
            if self._newest is None:
                self.start()
            elif not self._is_closing:
                self._start_server(self._preload)
        except OSError as error:
            log.error("fork server could not be started", exc=error)
            self._failed_starts += 1
            self._restart_later()

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._work.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._work.discard(task)
        self._changed.ring()
