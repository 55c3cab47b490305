"""What Linux lets one know and do about trees of processes. Elsewhere the same calls do the best they can.

A process is found by its parent, or by the marks it bears, and is ended by SIGKILL; nothing here asks politely.
"""

import ctypes
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from outlast.worker import marks

LINUX = sys.platform.startswith("linux")
_SET_PDEATHSIG, _SET_DUMPABLE, _SET_NAME, _SET_CHILD_SUBREAPER = 1, 4, 15, 36
_ROUNDS = 50
_URGENT = getattr(os, "SCHED_RR", 0) | getattr(os, "SCHED_RESET_ON_FORK", 0)
_libc = ctypes.CDLL(None, use_errno=True)


def _prctl(option: int, value: int) -> None:
    if LINUX:
        _libc.prctl(option, ctypes.c_ulong(value), ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0))


def die_with(parent: int) -> None:
    """Be killed when the process `parent` dies, which is or was our parent; now, if it is dead already."""
    _prctl(_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def outlive_parent() -> None:
    """Take back `die_with`."""
    _prctl(_SET_PDEATHSIG, 0)


def adopt_orphans() -> None:
    """Become the parent of whatever below this process loses its own: a daemon does not get away."""
    _prctl(_SET_CHILD_SUBREAPER, 1)


def leave_orphans() -> None:
    """Take back `adopt_orphans`."""
    _prctl(_SET_CHILD_SUBREAPER, 0)


def name(title: str) -> None:
    """What `ps` and `top` call this process (15 bytes)."""
    if LINUX:
        _libc.prctl(_SET_NAME, ctypes.create_string_buffer(title.encode()[:15]), 0, 0, 0)


TELL = getattr(signal, "SIGRTMIN", signal.SIGUSR1)
"""How an agent's process is told to stop. Not by SIGTERM: whoever stops the whole server often sends that to all of its
processes, while the server means to let their runs finish."""


def tell(pid: int) -> None:
    """Ask an agent's process to stop: in our own way, and by SIGTERM for code that listens to that."""
    send(pid, TELL)
    send(pid, signal.SIGTERM)


def heed_nobody() -> None:
    """Leave SIGINT and SIGTERM to the server: it says by the link when we are to end. What we exec starts afresh."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _unheard)


def _unheard(number: int, frame: object) -> None:
    pass


def yield_to_others(nice: int) -> None:
    """Let everybody else run first; also where the kernel shares time out among sessions instead of processes."""
    os.nice(nice)
    try:
        Path("/proc/self/autogroup").write_text(str(nice))
    except OSError:
        pass  # not this kernel


def forbid_core_dumps() -> None:
    """What was in memory does not get on the disk."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def close_to_peers() -> None:
    """Let no other process of our user read our environment or memory, nor trace us; root still can.

    What we exec is open again.
    """
    _prctl(_SET_DUMPABLE, 0)


def children(pid: int) -> set[int]:
    """The children of a process's main thread, dead ones that nobody has waited for included."""
    try:
        return set(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_bytes().split()))
    except OSError:
        return {child for child, parent in _parents().items() if parent == pid}


def family(pids: Iterable[int]) -> set[int]:
    """These processes and all that descend from them, by one look at every process there is."""
    below: dict[int, list[int]] = {}
    for child, parent in _parents().items():
        below.setdefault(parent, []).append(child)
    found: set[int] = set()
    todo = list(pids)
    while todo:
        pid = todo.pop()
        if pid not in found:
            found.add(pid)
            todo += below.get(pid, ())
    return found


def _parents() -> dict[int, int]:
    if not LINUX:
        return _parents_by_ps()
    parents: dict[int, int] = {}
    for pid in _pids():
        try:
            stat = Path(f"/proc/{pid}/stat").read_bytes()
        except OSError:
            continue  # it ended meanwhile
        parents[pid] = int(stat[stat.rindex(b")") + 4 :].split(None, 1)[0])
    return parents


def _parents_by_ps() -> dict[int, int]:
    listed = subprocess.run(["/bin/ps", "-axo", "pid=,ppid="], capture_output=True, check=False, text=True)
    pairs = (line.split() for line in listed.stdout.splitlines())
    return {int(pid): int(parent) for pid, parent in pairs}


def _pids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def send(pid: int, number: int) -> None:
    """Signal a process that may be gone by now."""
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        pass  # gone, or a set-uid program that is beyond us


def end_families(pids: Iterable[int]) -> None:
    """SIGKILL these processes and all below them.

    They are stopped first, level by level, until a look finds no new one: what is stopped cannot fork, so even a fork
    bomb comes to an end. An orphan made meanwhile goes to the nearest adopter, who looks again. Only what the last
    look still found is killed: a number seen earlier may belong to another process by now.
    """
    roots = list(pids)
    stopped: set[int] = set()
    with _urgently():
        for _ in range(_ROUNDS):
            found = family(roots)
            fresh = found - stopped
            if not fresh:
                break
            for pid in fresh:
                send(pid, signal.SIGSTOP)
            stopped |= fresh
        for pid in family(roots):
            send(pid, signal.SIGKILL)


@contextmanager
def _urgently() -> Iterator[None]:
    """Run before everything else, where we may: beside a thousand busy processes we would come too late."""
    try:
        os.sched_setscheduler(0, _URGENT, os.sched_param(1))
    except (AttributeError, OSError):
        yield
        return
    try:
        yield
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def count() -> int:
    """How many processes and threads the machine has, at next to no cost; 0 where that is not known."""
    try:
        return int(Path("/proc/loadavg").read_bytes().split()[3].split(b"/")[1])
    except OSError:
        return 0


def sweep(folder: str, *, spare: Callable[[], Collection[int]] = tuple) -> int:
    """End everything that bears the data folder's marks, except `spare` and what is below it; how many there were.

    One look at every process: milliseconds, so it belongs in a thread. Who is spared is asked after each look: what
    was started in between is not in it.
    """
    ended: set[int] = set()
    for _ in range(_ROUNDS if LINUX else 0):
        found = {pid for pid in _pids() if not is_dead(pid) and marks.bears(pid, folder)}
        strays = found - family(spare()) - {os.getpid()}
        if not strays:
            break
        end_families(strays)
        ended |= strays
    return len(ended)


def is_dead(pid: int) -> bool:
    """Whether the process has ended; a zombie has."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return True
    return stat[stat.rindex(b")") + 2 :][:1] in b"ZX"


def reap(pid: int) -> None:
    """Wait for a dead child that nobody else knows of."""
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        pass  # not ours, or reaped already
