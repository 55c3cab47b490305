"""The `command` runner's agent face: starts a program, and is its keeper until it has ended.

The program has a session of its own and dies with its keeper; all that it starts bears the run's mark. Its exit code
decides: 0 is success, with the last line that it printed as the result. One that was ended by a signal has crashed:
the keeper ends the same way, and the run is taken up again like that of any agent whose process died.
"""

import asyncio
import os
import shlex
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import NoReturn

from outlast.runners.protocol import AgentFailed, Context, Job, Silence
from outlast.runs import Program
from outlast.worker import environment, processes
from outlast.worker.context import RunContext
from outlast.worker.printed import LastLine, Pump


async def run(job: Job, context: Context) -> object:
    """The program's last line; `AgentFailed` if it cannot be started or its exit code is not 0."""
    program = job.request.program
    assert program is not None
    assert isinstance(context, RunContext)  # child.py carries this, and has no other
    last = LastLine()
    with _stdin(job) as stdin:
        process = _start(program, job, stdin)
    tell = _Tell(process.pid)
    signal.signal(processes.TELL, tell)  # instead of what interrupts an agent whose own code holds it up
    code = await _until_ended(process, _pumps(process, job, context, last), tell)
    if job.terminal is not None:
        os.write(job.terminal.fate, f"{code}\n".encode())
    if code < 0:
        _crash(context, code)
    if code > 0:
        raise AgentFailed("exit_code", f"The program ended with exit code {code}.")
    return Silence() if program.is_local and not last.text.strip() else last.text


@contextmanager
def _stdin(job: Job) -> Iterator[int]:
    """What the program reads: the prompt, or what the terminal says."""
    if job.terminal is not None:
        yield job.terminal.stdin
        return
    with tempfile.TemporaryFile() as file:
        file.write(job.request.prompt.encode())
        file.seek(0)
        yield file.fileno()


def _start(program: Program, job: Job, stdin: int) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            program.argv,
            cwd=program.cwd,
            env=environment.of_program(job, os.environ),
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            preexec_fn=partial(processes.die_with, os.getpid()),
        )
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        line = shlex.join(os.fsdecode(word) for word in program.argv)
        raise AgentFailed(
            "command_not_startable", f"{line[:1000]} cannot be started: {_words(error)}"
        ) from error


def _words(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _pumps(
    process: subprocess.Popen[bytes], job: Job, context: RunContext, last: LastLine
) -> tuple[Pump, Pump]:
    assert process.stdout is not None
    assert process.stderr is not None
    shown = (None, None) if job.terminal is None else (job.terminal.stdout, job.terminal.stderr)
    # Descriptors of their own, for a pipe's object closes it as well.
    out, err = os.dup(process.stdout.fileno()), os.dup(process.stderr.fileno())
    process.stdout.close()
    process.stderr.close()
    return Pump(out, context, shown[0], last), Pump(err, context, shown[1], None)


async def _until_ended(
    process: subprocess.Popen[bytes], pumps: tuple[Pump, Pump], tell: Callable[[], None]
) -> int:
    """Its exit code, or the negative number of its signal, when all that it printed has been read."""
    for pump in pumps:
        pump.start()
    ended = asyncio.ensure_future(asyncio.to_thread(_live_out, process, pumps))
    try:
        return await asyncio.shield(ended)
    except asyncio.CancelledError:
        tell()
        await ended  # or we are killed, and it with us
        raise


def _live_out(process: subprocess.Popen[bytes], pumps: tuple[Pump, Pump]) -> int:
    process.returncode = _reap_until(process.pid)
    for pump in pumps:
        pump.finish()
    return process.returncode


def _reap_until(pid: int) -> int:
    """Wait for the program, and for what it left to us meanwhile; its exit code."""
    while True:
        found, status = os.waitpid(-1, 0)
        if found == pid:
            return os.waitstatus_to_exitcode(status)


class _Tell:
    """Tells the program's process group to stop, once: to some, a second SIGTERM means to drop everything."""

    def __init__(self, group: int) -> None:
        self._group = group
        self._is_told = False

    def __call__(self, number: int = 0, frame: object = None) -> None:
        if self._is_told:
            return
        self._is_told = True
        try:
            os.killpg(self._group, signal.SIGTERM)
        except (ProcessLookupError, PermissionError):
            pass  # it has just ended, or is a set-uid program that is beyond us


def _crash(context: RunContext, code: int) -> NoReturn:
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    context.log(f"The program was ended by {name}.")
    context.end()
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("unreachable: SIGKILL is not delayed")
