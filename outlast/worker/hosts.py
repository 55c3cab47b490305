"""The parent's side of the shared hosts: which run goes where, who still answers, who has to go.

A host that dies, or whose loop no longer turns, takes its runs with it: they go on elsewhere, uncounted if there were
several, each alone from then on. A run that does not obey a cancel in time costs its host too; what its neighbours lose
is time and nothing else.
"""

import asyncio
import os
import socket
import subprocess
from collections import deque
from collections.abc import Callable, Sequence

from outlast import telemetry
from outlast.runners.protocol import Done, Failed, Ping, Pong, Ready, Start, Stop, Stopped, ToChild, ToParent
from outlast.transitions import Cause
from outlast.worker.attempt import Attempt
from outlast.worker.launch import exit_watch, launch
from outlast.worker.link import TO_PARENT, Link

SILENT_TICKS = 5
"""Pings in a row, a second apart, that a host may leave unanswered. Counted in turns of our own loop: if that hung,
nobody else is to blame."""
START_TICKS = 60
"""Seconds that a host may take to import what it needs."""
RESTART_S = (0.0, 0.2, 1.0, 5.0)
"""Pauses before a host that did not even start is started again."""

log = telemetry.get("worker")


class Host:
    """One host process and the attempts in it."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        end: socket.socket,
        on_ready: Callable[[], None],
        on_exit: "Callable[[Host], None]",
    ) -> None:
        self.attempts: dict[str, Attempt] = {}
        self.is_ready = False
        self.is_condemned = False
        self._is_dead = False
        self._ticks = 0
        self._on_ready = on_ready
        self._on_exit = on_exit
        self._process = process
        self._link: Link[ToChild, ToParent] = Link(end, TO_PARENT, self._hear, self.kill)
        self._watch = exit_watch(process)
        if self._watch is not None:
            asyncio.get_running_loop().add_reader(self._watch, self._exited)

    @property
    def pid(self) -> int:
        return self._process.pid

    def carry(self, attempt: Attempt, start: Start) -> None:
        self.attempts[attempt.id] = attempt
        self._link.send(start)

    def tell_to_stop(self, attempt_id: str) -> None:
        self._link.send(Stop(attempt_id))

    def tick(self) -> None:
        """Once a second: ask whether it is still there, and kill it if it has not answered for too long."""
        self._ticks += 1
        if self._ticks > (SILENT_TICKS if self.is_ready else START_TICKS):
            log.warning("host does not answer", pid=self.pid, runs=len(self.attempts))
            self.kill()
        elif self.is_ready:
            self._link.send(Ping(self._ticks))

    def kill(self) -> None:
        self._process.kill()
        if self._watch is None and not self._is_dead:
            self._exited()

    def _hear(self, frames: list[ToParent]) -> None:
        self._ticks = 0
        attempts = self.attempts
        for frame in frames:
            match frame:
                case Done() | Failed() | Stopped():
                    attempt = attempts.pop(frame.attempt_id, None)
                    if attempt is not None:
                        attempt.heard(frame)
                        attempt.gone(Cause.OWN_PROCESS)
                case Pong():
                    pass
                case Ready():
                    self.is_ready = True
                    self._on_ready()
                case _:
                    if frame.attempt_id in attempts:
                        attempts[frame.attempt_id].heard(frame)

    def _exited(self) -> None:
        """It is dead: hear its last words, then its attempts are gone."""
        self._is_dead = True
        if self._watch is not None:
            asyncio.get_running_loop().remove_reader(self._watch)
            os.close(self._watch)
            self._watch = None
        self._process.wait()
        self._link.drain()
        self._link.close()
        self._on_exit(self)


class Hosts:
    """All shared hosts of a worker; the `Place` of the attempts in them."""

    def __init__(
        self, number: int, folder: str, preload: Sequence[str], on_ready: Callable[[], None]
    ) -> None:
        """`on_ready` is called whenever a host has become of use."""
        self._number = number
        self._on_ready = on_ready
        self._folder = folder
        self._preload = preload
        self._hosts: list[Host] = []
        self._waiting: deque[tuple[Attempt, Start]] = deque()
        self._failed_starts = 0
        self._closed = False
        self._empty = asyncio.Event()

    @property
    def pids(self) -> set[int]:
        return {host.pid for host in self._hosts}

    @property
    def is_ready(self) -> bool:
        """Whether there is a host that would start a run at once."""
        return any(host.is_ready for host in self._fit())

    def start(self) -> None:
        """Start the hosts; they are of use once they have imported what they need."""
        while len(self._fit()) < self._number and not self._closed:
            self._hosts.append(self._start_one())
        while self._waiting and self._fit():
            self.carry(*self._waiting.popleft())

    def _start_one(self) -> Host:
        ours, theirs = socket.socketpair()
        try:
            process = launch(
                "outlast.worker.host", theirs, self._folder, "host", self._folder, *self._preload
            )
        except OSError:
            ours.close()
            raise
        return Host(process, ours, self._on_ready, self._exited)

    def _restart_later(self) -> None:
        pause_s = RESTART_S[min(self._failed_starts, len(RESTART_S) - 1)]
        asyncio.get_running_loop().call_later(pause_s, self._restart)

    def _restart(self) -> None:
        """Start what is missing; again and again, if the machine has no process or file to spare just now."""
        try:
            self.start()
        except OSError as error:
            log.error("host could not be started", exc=error)
            self._failed_starts += 1
            self._restart_later()

    def _fit(self) -> list[Host]:
        return [host for host in self._hosts if not host.is_condemned]

    def carry(self, attempt: Attempt, start: Start) -> None:
        """Start an attempt in the host that has the fewest."""
        attempt.place = self
        hosts = self._fit()
        if hosts:
            min(hosts, key=_load).carry(attempt, start)
        else:
            self._waiting.append((attempt, start))

    def stop(self, attempt_id: str, *, grace_s: float) -> None:
        """Cancel the attempt's task; if it has not ended after the grace, end its host."""
        host = self._host_of(attempt_id)
        if host is not None:
            host.tell_to_stop(attempt_id)
            asyncio.get_running_loop().call_later(grace_s, self._check_obeyed, host, attempt_id)
            return
        for waiting in [pair for pair in self._waiting if pair[0].id == attempt_id]:
            self._waiting.remove(waiting)
            waiting[0].gone(Cause.WORKER)

    def _host_of(self, attempt_id: str) -> Host | None:
        return next((host for host in self._hosts if attempt_id in host.attempts), None)

    def _check_obeyed(self, host: Host, attempt_id: str) -> None:
        if attempt_id in host.attempts and not host.is_condemned:
            log.warning("attempt does not end; its host has to", attempt_id=attempt_id, pid=host.pid)
            self._condemn(host)

    def _condemn(self, host: Host) -> None:
        """Give the host no more runs and kill it. Its neighbours go on elsewhere; what they were asking is kept."""
        host.is_condemned = True
        self._restart()
        host.kill()

    def _exited(self, host: Host) -> None:
        if host not in self._hosts:
            return
        self._hosts.remove(host)
        attempts = list(host.attempts.values())
        host.attempts.clear()
        if not self._closed:
            log.warning("host ended", pid=host.pid, runs=len(attempts), started=host.is_ready)
            self._failed_starts = 0 if host.is_ready else self._failed_starts + 1
            self._restart_later()
        for attempt in attempts:
            attempt.gone(_cause(host, len(attempts)))
        if not self._hosts:
            self._empty.set()

    def tick(self) -> None:
        """Once a second."""
        for host in list(self._hosts):
            host.tick()

    async def close(self) -> None:
        """Kill the hosts; returns when they are dead."""
        self._closed = True
        self._empty.clear()
        for host in list(self._hosts):
            host.kill()
        if self._hosts:
            await self._empty.wait()


def _load(host: Host) -> int:
    return len(host.attempts)


def _cause(host: Host, runs: int) -> Cause:
    """Whose fault the death of a host is held to be."""
    if not host.is_ready:
        return Cause.WORKER
    return Cause.SHARED_HOST if runs > 1 or host.is_condemned else Cause.OWN_PROCESS
