"""What runs in an isolated attempt's own process, from the fork to its end.

The process is alone in its session, dies with the fork server, adopts what its agent starts, and is limited in memory.
It reads one `Start` from its link, runs the agent, and sends what became of it; what the agent prints is its log. It
ends without Python's goodbyes: threads, exit handlers and tasks that the agent left behind are not waited for.
"""

import asyncio
import os
import resource
import signal
import socket
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NoReturn, TextIO

import msgspec

from outlast.clock import SystemClock
from outlast.runners.protocol import Done, Failed, Job, RunFunction, Start, Stop, Stopped, Terminal, ToParent
from outlast.worker import environment, marks, processes
from outlast.worker.context import RunContext, job_of
from outlast.worker.link import TO_CHILD, Inbox, pack
from outlast.worker.outcome import broken, carry, exited, loaded

NICE = 10
OOM_SCORE = "500"
"""If the machine runs out of memory, an agent goes before the server does."""
CRASHED = 70
_STDIN, _STDOUT, _STDERR = 0, 1, 2


class Home(msgspec.Struct, frozen=True):
    """What is the same for all attempts of a fork server."""

    folder: str
    memory_limit_mb: int
    scratch: str
    terminal: Terminal | None = None


def main(attempt_id: str, server: int, link: int, output: int, home: Home) -> NoReturn:
    """Live the attempt's life; called in a fresh fork of the process `server`."""
    code = CRASHED
    try:
        os.setsid()
        processes.die_with(server)
        processes.adopt_orphans()
        processes.name("outlast-agent")
        marks.wear(marks.mark(home.folder, attempt_id))
        _redirect(output)
        _limit(home.memory_limit_mb)
        _Agent(socket.socket(fileno=link), home).live()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        _flush()
        os._exit(code)


def _redirect(output: int) -> None:
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, _STDIN), (output, _STDOUT), (output, _STDERR)):
        os.dup2(source, target)
    os.close(nothing)
    os.close(output)
    sys.stdout = _text(_STDOUT)
    sys.stderr = _text(_STDERR)


def _text(fd: int) -> TextIO:
    return open(fd, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False)


def _limit(memory_mb: int) -> None:
    processes.yield_to_others(NICE)
    if memory_mb and resource.getrlimit(resource.RLIMIT_DATA)[1] == resource.RLIM_INFINITY:
        resource.setrlimit(resource.RLIMIT_DATA, (memory_mb << 20, memory_mb << 20))
    try:
        Path("/proc/self/oom_score_adj").write_text(OOM_SCORE)
    except OSError:
        pass  # not on this system


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            pass  # the agent closed it, or nobody reads


async def _load(entry: str) -> RunFunction:
    return loaded(entry)


_OURS = (signal.SIGTERM, processes.TELL)


def _be_ordinary() -> None:
    """In a fork that the agent makes: a worker pool ends its processes by SIGTERM, maybe at once."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in _OURS:
        signal.signal(number, signal.SIG_DFL)
    _release_signals()


def _hold_signals() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, _OURS)


def _release_signals() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _OURS)


class _Agent:
    """The attempt's code on its event loop, and the link to the parent."""

    def __init__(self, end: socket.socket, home: Home) -> None:
        self._socket = end
        self._home = home
        self._inbox = Inbox(TO_CHILD)
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[Done | Failed] | None = None
        self._is_told = False
        self._has_heard = False
        processes.heed_nobody()
        signal.signal(processes.TELL, self._on_tell)
        os.register_at_fork(
            before=_hold_signals, after_in_parent=_release_signals, after_in_child=_be_ordinary
        )

    def live(self) -> None:
        start = self._first()
        try:
            job = job_of(start, self._home.terminal)
            self._settle_in(job)
        except (OSError, msgspec.MsgspecError) as error:
            self._send(broken(start.attempt_id, error))
            return
        self._loop = asyncio.new_event_loop()
        asyncio.set_event_loop(self._loop)
        self._loop.add_reader(self._socket, self._listen)
        context = RunContext(job, self._send, self._later, SystemClock())
        outcome = self._run(job, start.entry, context)
        context.end()
        _flush()
        self._send(outcome)

    def _first(self) -> Start:
        while True:
            data = self._socket.recv(1 << 16)
            if not data:
                os._exit(0)
            for frame in self._inbox.feed(data):
                assert isinstance(frame, Start)
                return frame

    def _settle_in(self, job: Job) -> None:
        scratch = Path(self._home.scratch) / job.attempt_id
        scratch.parent.mkdir(mode=0o700, exist_ok=True)  # whoever tidies /tmp may have removed it
        scratch.mkdir(mode=0o700)
        tempfile.tempdir = str(scratch)
        os.environ.update(environment.of_attempt(job, str(scratch)))
        os.chdir(job.agent_root)
        if job.agent_root not in sys.path:
            sys.path.insert(0, job.agent_root)

    def _run(self, job: Job, entry: str, context: RunContext) -> ToParent:
        assert self._loop is not None
        self._task = task = self._loop.create_task(carry(job, partial(_load, entry), context))
        try:
            return self._loop.run_until_complete(task)
        except SystemExit as left:
            return exited(job.attempt_id, f"called sys.exit({left.code!r})")
        except BaseException as error:
            return Stopped(job.attempt_id) if self._is_told else broken(job.attempt_id, error)

    def _send(self, frame: ToParent) -> None:
        """From any thread. A fork that the agent made ends where its run would, and says nothing."""
        if os.getpid() != self._pid:
            if isinstance(frame, Done | Failed | Stopped):
                os._exit(0)
            return
        with self._lock:
            try:
                self._socket.sendall(pack(frame))
            except OSError:
                pass  # the parent no longer listens: the fork server will end us

    def _later(self, seconds: float, call: Callable[[], None]) -> None:
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._loop.call_later, seconds, call)

    def _listen(self) -> None:
        data = self._socket.recv(4096, socket.MSG_DONTWAIT)
        if not data:
            os._exit(0)
        if any(isinstance(frame, Stop) for frame in self._inbox.feed(data)):
            self._cancel()

    def _on_tell(self, number: int, frame: object) -> None:
        """First cancel the agent; if its loop does not even turn, interrupt what it is doing."""
        if self._loop is None:
            os._exit(0)
        if self._is_told and not self._has_heard:
            raise KeyboardInterrupt
        self._is_told = True
        self._loop.call_soon_threadsafe(self._cancel)

    def _cancel(self) -> None:
        self._is_told = True
        if not self._has_heard and self._task is not None:
            self._has_heard = True
            self._task.cancel()
