"""The parent's side of isolated attempts: one process each, forked and buried by the fork server.

The parent holds the link on which the agent's outcome comes and the pipe into which it prints, and reads both at a
pace that an agent cannot set. If the fork server itself dies, its agents die with it; what they started is swept up
before their runs go back to the queue, and a new one is exec'ed.
"""

import asyncio
import os
import shutil
import socket
import subprocess
from collections import deque
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from outlast import telemetry
from outlast.lifecycle import Cause
from outlast.runners.protocol import Done, Failed, Logged, Start, Stop, Stopped, ToChild, ToParent
from outlast.worker import processes
from outlast.worker.attempt import Attempt
from outlast.worker.forkserver import (
    FROM_FORK_SERVER,
    PROCESSES_MAX,
    End,
    Fork,
    FromForkServer,
    Gone,
    Open,
    Probe,
    ToForkServer,
)
from outlast.worker.launch import exit_watch, launch
from outlast.worker.link import TO_PARENT, Link, pack
from outlast.worker.logs import Lines
from outlast.worker.outcome import exited

READ_MAX = 64 * 1024
READ_PAUSE_S = 0.015
"""Between two reads of what an agent prints: at most 4 MiB and 66 wake-ups a second."""
LAST_WORDS_MAX = 4 * 1024 * 1024
FRAMES_MAX = 500
"""Frames in a row after which an agent's link is left alone for a moment: its own side never sends as many."""
LINGER_S = 1.0
"""How long a process may take to end when it has said its last word, or has closed its link."""
SILENT_TICKS = 10
START_TICKS = 60
RESTART_S = (0.0, 0.2, 1.0, 5.0)
RETRY_S = 0.02
CLOSE_S = 6.0
_CROWD_WORDS = f"The agent had more than {PROCESSES_MAX} processes at one time; it was ended."

log = telemetry.get("worker")


class _Process:
    """An attempt's process, as far as the parent sees it."""

    def __init__(
        self, attempt: Attempt, link: socket.socket, output: int, on_linger: Callable[[str], None]
    ) -> None:
        os.set_blocking(output, False)
        self.attempt = attempt
        self.is_gone = False
        self._loop = asyncio.get_running_loop()
        self._link: Link[ToChild, ToParent] = Link(link, TO_PARENT, self._hear, self._linger)
        self._output: int | None = output
        self._lines = Lines()
        self._on_linger = on_linger
        self._loop.add_reader(output, self._read)

    def send(self, frame: ToChild) -> None:
        self._link.send(frame)

    def over(self, code: int | None) -> None:
        """Nothing of it is left: take in what it said last. A null code: the fork server died with it."""
        self.is_gone = True
        self._link.drain()
        self._link.close()
        self._read_rest()
        if code is not None and code >= 0 and self.attempt.outcome is None:
            self.attempt.heard(exited(self.attempt.id, f"ended its own process with exit code {code}"))
        self.attempt.gone(Cause.WORKER if code is None else Cause.OWN_PROCESS)

    def _hear(self, frames: list[ToParent]) -> None:
        for frame in frames:
            self.attempt.heard(frame)
            if isinstance(frame, Done | Failed | Stopped):
                self._linger()
        if len(frames) > FRAMES_MAX:
            self._link.pause(RETRY_S)

    def _linger(self) -> None:
        if not self.is_gone:
            self._loop.call_later(LINGER_S, self._on_linger, self.attempt.id)

    def _read(self) -> None:
        if self._output is None:
            return
        self._loop.remove_reader(self._output)
        if self._read_once():
            self._loop.call_later(READ_PAUSE_S, self._read_on)

    def _read_on(self) -> None:
        if self._output is not None and not self.is_gone:
            if self.attempt.recorder.is_behind:
                self._loop.call_later(READ_PAUSE_S, self._read_on)
            else:
                self._loop.add_reader(self._output, self._read)

    def _read_once(self) -> int:
        """How many bytes there were; at the end the pipe is closed."""
        if self._output is None:
            return 0
        try:
            data = os.read(self._output, READ_MAX)
        except BlockingIOError:
            return 0
        if data:
            self._log(data)
        else:
            self._close_output()
        return len(data)

    def _log(self, data: bytes) -> None:
        if self.attempt.is_decided:
            return
        recorder = self.attempt.recorder
        lines, passed = self._lines.feed(data, recorder.room)
        for line in lines:
            self.attempt.heard(Logged(self.attempt.id, line))
        recorder.skip(passed)

    def _read_rest(self) -> None:
        left = LAST_WORDS_MAX
        while left > 0 and (read := self._read_once()):
            left -= read
        for line in self._lines.end():
            self.attempt.heard(Logged(self.attempt.id, line))
        self._close_output()

    def _close_output(self) -> None:
        if self._output is not None:
            self._loop.remove_reader(self._output)
            os.close(self._output)
            self._output = None


class Isolated:
    """The `Place` of all attempts with a process of their own."""

    def __init__(
        self,
        folder: str,
        memory_limit_mb: int,
        scratch: Path,
        preload: Sequence[str],
        spare: Callable[[], Collection[int]],
    ) -> None:
        """`spare` names the processes that a sweep must leave alone."""
        self._folder = folder
        self._scratch = scratch
        self._arguments = (folder, str(memory_limit_mb), str(scratch), *preload)
        self._spare = spare
        self._server: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._link: Link[ToForkServer, FromForkServer] | None = None
        self._watch: int | None = None
        self._is_open = False
        self._is_closing = False
        self._ticks = 0
        self._failed_starts = 0
        self._processes: dict[str, _Process] = {}
        self._waiting: dict[str, tuple[Attempt, Start]] = {}
        self._outbox: deque[tuple[ToForkServer, tuple[int, ...]]] = deque()
        self._ended = asyncio.Event()
        self._tidying: set[asyncio.Task[None]] = set()

    @property
    def pids(self) -> set[int]:
        return set() if self._server is None else {self._server.pid}

    def start(self) -> None:
        """Start the fork server; attempts wait until it has imported what it is to."""
        if self._is_closing:
            return
        ours, theirs = socket.socketpair()
        self._is_open, self._ticks = False, 0
        self._server = launch(
            "outlast.worker.forkserver", theirs, self._folder, "fork-server", *self._arguments
        )
        self._control = ours
        self._link = Link(ours, FROM_FORK_SERVER, self._hear, self._kill_server)
        self._watch = exit_watch(self._server)
        if self._watch is not None:
            asyncio.get_running_loop().add_reader(self._watch, self._exited)

    def carry(self, attempt: Attempt, start: Start) -> None:
        """Start an attempt in a process of its own."""
        attempt.place = self
        if self._is_open:
            self._fork(attempt, start)
        else:
            self._waiting[attempt.id] = attempt, start

    def stop(self, attempt_id: str, *, grace_s: float) -> None:
        """Tell the attempt's process to end; after the grace everything below it is killed."""
        waiting = self._waiting.pop(attempt_id, None)
        if waiting is not None:
            waiting[0].gone(Cause.WORKER)
        elif attempt_id in self._processes:
            self._processes[attempt_id].send(Stop(attempt_id))
            self._tell(End(attempt_id, grace_s))

    def tick(self) -> None:
        """Once a second: ask the fork server whether it is still there, and kill it if it has not answered."""
        self._ticks += 1
        if self._ticks > (SILENT_TICKS if self._is_open else START_TICKS):
            log.error("fork server does not answer", attempts=len(self._processes))
            self._kill_server()
        elif self._is_open:
            self._tell(Probe())

    async def close(self) -> None:
        """End the fork server and with it everything it has; returns when that is done."""
        self._is_closing = True
        self._ended.clear()
        if self._server is not None and self._link is not None:
            late = asyncio.get_running_loop().call_later(CLOSE_S, self._server.kill)
            self._link.close()
            await self._ended.wait()
            late.cancel()
        if self._tidying:
            await asyncio.wait(self._tidying)

    # What goes to the fork server.

    def _fork(self, attempt: Attempt, start: Start) -> None:
        ours, theirs = socket.socketpair()
        readable, writable = os.pipe()
        process = _Process(attempt, ours, readable, self._end_lingering)
        self._processes[attempt.id] = process
        self._tell(Fork(attempt.id), theirs.detach(), writable)
        process.send(start)

    def _tell(self, frame: ToForkServer, *fds: int) -> None:
        if self._control is None:
            return  # it is dead, and its attempts with it
        self._outbox.append((frame, fds))
        if len(self._outbox) == 1:
            self._pump()

    def _pump(self) -> None:
        """Send what waits. Each frame is far smaller than what the socket takes in one piece, so none is torn."""
        while self._outbox and self._control is not None:
            frame, fds = self._outbox[0]
            try:
                socket.send_fds(self._control, [pack(frame)], fds)
            except BlockingIOError:
                asyncio.get_running_loop().call_later(RETRY_S, self._pump)
                return
            except OSError:
                pass  # it is dead, and we will hear so
            self._outbox.popleft()
            for fd in fds:
                os.close(fd)

    def _end_lingering(self, attempt_id: str) -> None:
        if attempt_id in self._processes:
            self._tell(End(attempt_id, 0))

    # What comes from it.

    def _hear(self, frames: list[FromForkServer]) -> None:
        self._ticks = 0
        for frame in frames:
            match frame:
                case Open():
                    self._is_open, self._failed_starts = True, 0
                    self._start_waiting()
                case Gone():
                    self._gone(frame)

    def _gone(self, gone: Gone) -> None:
        process = self._processes.pop(gone.attempt_id, None)
        if process is not None:
            if gone.is_crowd:
                process.attempt.heard(Failed(gone.attempt_id, "too_many_processes", _CROWD_WORDS))
            process.over(gone.code)
            self._tidy(gone.attempt_id)

    def _start_waiting(self) -> None:
        waiting, self._waiting = self._waiting, {}
        for attempt, start in waiting.values():
            self._fork(attempt, start)

    def _tidy(self, attempt_id: str) -> None:
        """Remove the attempt's temporary files: an empty folder at once, anything else in a thread."""
        scratch = self._scratch / attempt_id
        try:
            scratch.rmdir()
        except FileNotFoundError:
            pass  # it never came so far
        except OSError:
            work = asyncio.to_thread(shutil.rmtree, scratch, ignore_errors=True)
            task = asyncio.get_running_loop().create_task(work)
            self._tidying.add(task)
            task.add_done_callback(self._tidying.discard)

    # When it dies.

    def _kill_server(self) -> None:
        """Our link is closed: it is dying, or it is to."""
        if self._server is not None and not self._is_closing:
            self._server.kill()
        if self._watch is None:
            self._exited()

    def _exited(self) -> None:
        if self._server is None or self._link is None:
            return
        if self._watch is not None:
            asyncio.get_running_loop().remove_reader(self._watch)
            os.close(self._watch)
            self._watch = None
        server, self._server = self._server, None
        server.wait()
        self._link.drain()
        self._link.close()
        self._link = self._control = None
        for _, fds in self._outbox:
            for fd in fds:
                os.close(fd)
        self._outbox.clear()
        if not self._is_closing:
            self._failed_starts += not self._is_open
            log.error("fork server ended", attempts=len(self._processes), code=server.returncode)
        self._is_open = False
        task = asyncio.get_running_loop().create_task(self._clear_up())
        self._tidying.add(task)
        task.add_done_callback(self._tidying.discard)

    async def _clear_up(self) -> None:
        """Make sure that nothing of its attempts is left, let them go, and start anew."""
        await asyncio.to_thread(processes.sweep, self._folder, spare=frozenset(self._spare()))
        orphans, self._processes = self._processes, {}
        for attempt_id, process in orphans.items():
            process.over(None)
            self._tidy(attempt_id)
        self._ended.set()
        if not self._is_closing:
            await asyncio.sleep(RESTART_S[min(self._failed_starts, len(RESTART_S) - 1)])
            self.start()
