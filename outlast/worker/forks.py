"""The parent's handle on one fork server: what it is told, what it says, and what dies with it."""

import asyncio
import os
import socket
from collections import deque
from collections.abc import Callable, Sequence

from outlast import telemetry
from outlast.runners.protocol import Failed, Start, Stop
from outlast.worker.agentprocess import AgentProcess
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
from outlast.worker.link import Link, pack

SILENT_TICKS = 10
START_TICKS = 120
RETRY_S = 0.02
CLOSE_S = 6.0
_CROWD_WORDS = f"The agent had more than {PROCESSES_MAX} processes at one time; it was ended."

log = telemetry.get("worker")


class Forks:
    """One fork server and the attempts whose processes it has."""

    def __init__(
        self,
        folder: str,
        arguments: Sequence[str],
        on_open: "Callable[[Forks], None]",
        on_gone: "Callable[[Forks, str], None]",
        on_exit: "Callable[[Forks], None]",
        keeps: Sequence[int] = (),
    ) -> None:
        """Starts it; it is of use when it is open. `on_gone` hears of each attempt of which nothing is left.

        The descriptors `keeps` are open in it, and so in the attempts' processes.
        """
        ours, theirs = socket.socketpair()
        self.attempts: dict[str, AgentProcess] = {}
        self.is_open = False
        self.has_preloaded = False
        self.is_closing = False
        self._on_open, self._on_gone, self._on_exit = on_open, on_gone, on_exit
        self._is_dead = False
        self._ticks = 0
        self._outbox: deque[tuple[ToForkServer, tuple[int, ...]]] = deque()
        self._control: socket.socket | None = ours
        try:
            self._process = launch(
                "outlast.worker.forkserver", theirs, folder, "fork-server", folder, *arguments, keeps=keeps
            )
        except OSError:
            ours.close()
            raise
        self._link: Link[ToForkServer, FromForkServer] = Link(
            ours, FROM_FORK_SERVER, self._hear, self._cut_off
        )
        self._watch = exit_watch(self._process)
        if self._watch is not None:
            asyncio.get_running_loop().add_reader(self._watch, self._exited)

    @property
    def pid(self) -> int:
        return self._process.pid

    def fork(self, attempt: Attempt, start: Start) -> None:
        """Give the attempt a process."""
        ours, theirs = socket.socketpair()
        try:
            readable, writable = os.pipe()
        except OSError:
            ours.close()
            theirs.close()
            raise
        process = AgentProcess(attempt, ours, readable, self._end_lingering)
        self.attempts[attempt.id] = process
        self._tell(Fork(attempt.id), theirs.detach(), writable)
        process.send(start)

    def stop(self, attempt_id: str, grace_s: float) -> None:
        """Tell the attempt's process to end; after the grace everything below it is killed."""
        self.attempts[attempt_id].send(Stop(attempt_id))
        self._tell(End(attempt_id, grace_s))

    def tick(self) -> None:
        """Once a second: ask whether it is still there, and kill it if it has not answered for too long."""
        self._ticks += 1
        if self._ticks > (SILENT_TICKS if self.is_open else START_TICKS):
            log.error("fork server does not answer", attempts=len(self.attempts))
            self._process.kill()
        elif self.is_open:
            self._tell(Probe())

    def close(self) -> None:
        """Let it end everything it has, and then itself; one that still imports has nothing."""
        if not self.is_closing:
            self.is_closing = True
            asyncio.get_running_loop().call_later(CLOSE_S if self.is_open else 0, self._process.kill)
            self._link.close()

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
            _close(fds)

    def _end_lingering(self, attempt_id: str) -> None:
        if attempt_id in self.attempts:
            self._tell(End(attempt_id, 0))

    def _hear(self, frames: list[FromForkServer]) -> None:
        self._ticks = 0
        for frame in frames:
            match frame:
                case Open():
                    self.is_open = True
                    self._on_open(self)
                case Gone():
                    self._gone(frame)

    def _gone(self, gone: Gone) -> None:
        process = self.attempts.pop(gone.attempt_id, None)
        if process is not None:
            if gone.is_crowd:
                process.attempt.heard(Failed(gone.attempt_id, "too_many_processes", _CROWD_WORDS))
            process.over(gone.code)
            self._on_gone(self, gone.attempt_id)

    def _cut_off(self) -> None:
        """The link is closed: by us, and it is burying its dead; or it is dying, or it is to."""
        self._control = None
        if not self.is_closing:
            self._process.kill()
        if self._watch is None and not self._is_dead:
            self._exited()

    def _exited(self) -> None:
        self._is_dead = True
        if self._watch is not None:
            asyncio.get_running_loop().remove_reader(self._watch)
            os.close(self._watch)
            self._watch = None
        self._process.wait()
        self._link.drain()
        self._link.close()
        for _, fds in self._outbox:
            _close(fds)
        self._outbox.clear()
        if not self.is_closing:
            log.error("fork server ended", attempts=len(self.attempts), code=self._process.returncode)
        self._on_exit(self)


def _close(fds: Sequence[int]) -> None:
    for fd in fds:
        os.close(fd)
