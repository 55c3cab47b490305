"""Starts our own helper processes: exec'ed, in a session of their own, with an environment that holds no secret.

Called on the loop's thread and only there: a process that dies with its parent dies with the parent's *thread*.
"""

import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from outlast.worker import environment, marks

# `-P` keeps the working directory off the path; the path is ours, so the child imports what we would.
_BOOT = (
    "import sys; sys.path[:] = sys.argv.pop(1).split({sep!r}); from {module} import main; main(*sys.argv[1:])"
)


def launch(
    module: str, end: socket.socket, folder: str, bearer: str, *words: str, keeps: Sequence[int] = ()
) -> subprocess.Popen[bytes]:
    """Run `module.main(fd, our pid, *words)`, `fd` being the child's end of a socket pair, which is closed here.

    The descriptors `keeps` are open in the child too, under the same numbers.
    """
    with end:
        return subprocess.Popen(
            python(module, str(end.fileno()), str(os.getpid()), *words),
            pass_fds=(end.fileno(), *keeps),
            env={**environment.bare(os.environ), marks.VARIABLE: marks.mark(folder, bearer)},
            stdin=subprocess.DEVNULL,
            stdout=2,
            start_new_session=True,
        )


def python(module: str, *words: str) -> list[str]:
    """The command line that runs `module.main(*words)` in an interpreter like ours."""
    path = os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path)
    return [sys.executable, "-P", "-c", _BOOT.format(sep=os.pathsep, module=module), path, *words]


def exit_watch(process: subprocess.Popen[bytes]) -> int | None:
    """A file descriptor that becomes readable when the process has ended; null where there is none to be had."""
    try:
        return os.pidfd_open(process.pid) if hasattr(os, "pidfd_open") else None
    except OSError:
        return None  # too many are open: the end of its link tells of its end, if less surely
