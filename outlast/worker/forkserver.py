"""The fork server: a small process without threads that has imported what agents need, and forks one per attempt.

It is also their undertaker. It adopts whatever an agent leaves behind, and reports an attempt as gone only when
nothing below it is left; when its parent dies, it kills all it has and ends. It runs no agent code and no event loop,
and holds no key.
"""

import gc
import os
import select
import signal
import socket
import sys
from pathlib import Path
from typing import NoReturn

import msgspec

from outlast.clock import SystemClock
from outlast.runners.protocol import Terminal
from outlast.worker import child, marks, processes
from outlast.worker.host import warm
from outlast.worker.link import Inbox, pack

ALWAYS = ("outlast.worker.program",)
"""What even a bare one has imported: it costs next to nothing."""
URGE_S = 0.1
"""After this time a blocked agent is interrupted: the first word reaches only one that listens."""
TICK_S = 0.05
GIVE_UP_S = 10.0
"""What resists SIGKILL for so long (a process in uninterruptible sleep) is no longer waited for."""
BURIAL_S = 5.0
FORK_AGAIN_S = (0.05, 0.2, 0.5)
CENSUS_S = 0.25
CROWD = 300
"""So many more processes on the machine than before are a reason to count whose they are."""
PROCESSES_MAX = 1000
"""What an attempt may have at one time; a fork bomb has more in a second."""
_RECEIVE = 64 * 1024
_FDS = 64


class Fork(msgspec.Struct, frozen=True, tag="fork"):
    """Fork a process for an attempt. Two file descriptors come along: its end of the link, and where it prints."""

    attempt_id: str


class End(msgspec.Struct, frozen=True, tag="end"):
    """Tell the attempt to stop; kill it after the grace."""

    attempt_id: str
    grace_s: float


class Probe(msgspec.Struct, frozen=True, tag="probe"):
    """Are you there."""


class Open(msgspec.Struct, frozen=True, tag="open"):
    """Everything is imported."""


class Gone(msgspec.Struct, frozen=True, tag="gone"):
    """Nothing of the attempt is left."""

    attempt_id: str
    code: int | None
    """Its own process ended with this exit code, or by this signal (negative); null if it could not be forked."""
    is_crowd: bool = False
    """It was killed because it had more than `PROCESSES_MAX` processes."""


class Here(msgspec.Struct, frozen=True, tag="here"):
    """Yes."""


ToForkServer = Fork | End | Probe
FromForkServer = Open | Gone | Here
TO_FORK_SERVER: msgspec.msgpack.Decoder[ToForkServer] = msgspec.msgpack.Decoder(ToForkServer)
FROM_FORK_SERVER: msgspec.msgpack.Decoder[FromForkServer] = msgspec.msgpack.Decoder(FromForkServer)


def main(
    fd: str, parent: str, folder: str, memory_limit_mb: str, scratch: str, terminal: str, *preload: str
) -> None:
    """What the process does from exec to its end."""
    processes.die_with(int(parent))
    processes.name("outlast-forks")
    marks.brand(folder)
    processes.adopt_orphans()
    processes.heed_nobody()
    processes.forbid_core_dumps()
    warm((*ALWAYS, *preload))
    if processes.LINUX and len(list(Path("/proc/self/task").iterdir())) > 1:
        print("outlast: a preloaded module has started a thread; agents may hang", file=sys.stderr)  # noqa: T201
    gc.collect()
    gc.freeze()
    control = socket.socket(fileno=int(fd))
    kept = Terminal(*map(int, terminal.split(","))) if terminal else None
    ForkServer(control, child.Home(folder, int(memory_limit_mb), scratch, kept)).serve()


class _Root:
    """An attempt's own process."""

    def __init__(self, attempt_id: str, pid: int) -> None:
        self.attempt_id = attempt_id
        self.pid = pid
        self.is_told = False
        self.is_crowd = False
        self.urge_at = float("inf")
        self.kill_at = float("inf")


class _Dead:
    """An attempt whose own process has ended, while what it left may not have."""

    def __init__(self, root: _Root, code: int, since: float) -> None:
        self.gone = Gone(root.attempt_id, code, root.is_crowd)
        self.since = since


class ForkServer:
    """One loop over what the parent says, what dies, and what is due."""

    def __init__(self, control: socket.socket, home: child.Home) -> None:
        self._control = control
        self._home = home
        self._clock = SystemClock()
        self._inbox = Inbox(TO_FORK_SERVER)
        self._fds: list[int] = []
        self._roots: dict[int, _Root] = {}
        self._dead: list[_Dead] = []
        self._bell, self._hammer = _pipe()
        self._is_over = False
        self._usual_count = processes.count()
        self._census_at = 0.0

    def serve(self) -> NoReturn:
        signal.signal(signal.SIGCHLD, _wake_up)
        signal.set_wakeup_fd(self._hammer, warn_on_full_buffer=False)
        poll = select.poll()
        poll.register(self._control, select.POLLIN)
        poll.register(self._bell, select.POLLIN)
        processes.outlive_parent()
        self._say(Open())
        try:
            while not self._is_over:
                self._turn({fd for fd, _ in poll.poll(self._patience_ms())})
        finally:
            self._bury_all()
        os._exit(0)

    def _turn(self, ready: set[int]) -> None:
        if self._bell in ready:
            _silence(self._bell)
        if self._control.fileno() in ready:
            self._listen()
        self._escalate()
        self._look_for_crowds()
        self._bury()

    def _end(self) -> None:
        self._is_over = True

    def _patience_ms(self) -> float | None:
        """Until something is due; for ever, if nothing is."""
        if self._dead:
            return TICK_S * 1000
        if not self._roots:
            return None
        due = min(min(root.urge_at, root.kill_at) for root in self._roots.values())
        return min(CENSUS_S, max(0.0, due - self._clock.monotonic())) * 1000

    def _listen(self) -> None:
        try:
            data, fds, _, _ = socket.recv_fds(self._control, _RECEIVE, _FDS)
        except OSError:
            data, fds = b"", []
        if not data:
            self._end()
        self._fds += fds
        for frame in self._inbox.feed(data):
            match frame:
                case Fork(attempt_id=attempt_id):
                    self._fork(attempt_id)
                case End(attempt_id=attempt_id, grace_s=grace_s):
                    self._tell(attempt_id, grace_s)
                case Probe():
                    self._say(Here())

    def _fork(self, attempt_id: str) -> None:
        link, output, *self._fds = self._fds
        server = os.getpid()
        pid = self._try_to_fork()
        if pid == 0:
            self._leave()
            child.main(attempt_id, server, link, output, self._home)
        os.close(link)
        os.close(output)
        if pid is None:
            self._say(Gone(attempt_id, None))
        else:
            self._roots[pid] = _Root(attempt_id, pid)

    def _try_to_fork(self) -> int | None:
        """As `os.fork`; null if the machine has had no room for a process for a while."""
        for pause_s in FORK_AGAIN_S:
            try:
                return os.fork()
            except OSError:
                select.select([], [], [], pause_s)
        return None

    def _leave(self) -> None:
        """In the fork: let go of what is the server's alone."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self._control.close()
        for fd in (self._bell, self._hammer, *self._fds):
            os.close(fd)

    def _tell(self, attempt_id: str, grace_s: float) -> None:
        root = next((root for root in self._roots.values() if root.attempt_id == attempt_id), None)
        if root is None:
            return
        now = self._clock.monotonic()
        root.kill_at = min(root.kill_at, now + grace_s)
        if not root.is_told:
            root.is_told, root.urge_at = True, now + URGE_S
            processes.tell(root.pid)

    def _escalate(self) -> None:
        now = self._clock.monotonic()
        for root in self._roots.values():
            if root.kill_at <= now:
                root.kill_at = now + TICK_S
                processes.end_families([root.pid])
            elif root.urge_at <= now:
                root.urge_at = float("inf")
                processes.tell(root.pid)

    def _look_for_crowds(self) -> None:
        """End what has become a fork bomb, before the machine is full of it."""
        now = self._clock.monotonic()
        if not self._roots or now < self._census_at:
            return
        self._census_at = now + CENSUS_S
        count = processes.count()
        if count - self._usual_count > CROWD:
            self._usual_count = count
            for root in self._roots.values():
                if len(processes.family([root.pid])) > PROCESSES_MAX:
                    root.is_crowd = True
                    processes.end_families([root.pid])
        self._usual_count = min(self._usual_count, count)

    def _bury(self) -> None:
        """Wait for the dead, kill what they left, and report those of whom nothing is left."""
        self._reap()
        if not self._dead:
            return
        strays = processes.children(os.getpid()) - self._roots.keys()
        if strays:
            processes.end_families(strays)
            self._reap()
            strays = processes.children(os.getpid()) - self._roots.keys()
        now = self._clock.monotonic()
        for dead in list(self._dead):
            if not strays or now - dead.since > GIVE_UP_S:
                self._dead.remove(dead)
                self._say(dead.gone)

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            root = self._roots.pop(pid, None)
            if root is not None:
                code = os.waitstatus_to_exitcode(status)
                self._dead.append(_Dead(root, code, self._clock.monotonic()))

    def _bury_all(self) -> None:
        """The parent is gone, or has closed us: nothing of ours may stay."""
        deadline = self._clock.monotonic() + BURIAL_S
        while self._clock.monotonic() < deadline:
            self._reap()
            left = processes.children(os.getpid())
            if not left:
                return
            processes.end_families(left)
            select.select([self._bell], [], [], TICK_S)
            _silence(self._bell)

    def _say(self, frame: FromForkServer) -> None:
        try:
            self._control.sendall(pack(frame))
        except OSError:
            self._end()  # nobody listens any more


def _wake_up(number: int, frame: object) -> None:
    """A dead child is news: the wake-up pipe carries it."""


def _pipe() -> tuple[int, int]:
    ends = os.pipe()
    for end in ends:
        os.set_blocking(end, False)
    return ends


def _silence(bell: int) -> None:
    try:
        while os.read(bell, 4096):
            pass
    except BlockingIOError:
        pass
