"""`outlast exec`: a program of one's own as a run. For the local user: nothing of it can be reached over HTTP."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

import click

from outlast import config
from outlast.commands import exec_looks, exits
from outlast.commands.streams import have_standard_streams
from outlast.config import Settings
from outlast.errors import ConfigError, OutlastError, RunNotFound

if TYPE_CHECKING:
    from outlast.execs.folder import Folder
    from outlast.execs.going import Begin, Left

_BY_SIGNAL = 128
_LOOK_S = 0.02
_LOOKS = 1000
"""Until the run is seen to be another process's."""
_WAITS = 75
"""Try again later, as mail systems say it."""
_NOT_FOUND = 127
"""As in a shell."""


@click.command(context_settings={"allow_interspersed_args": False})
@click.argument("argv", metavar="[--] COMMAND...", nargs=-1, type=click.UNPROCESSED)
@click.option("-d", "--detach", is_flag=True, help="Print the run's id and let it go on by itself.")
@click.option("--resume", metavar="RUN_ID", help="Go on with a run, or run an ended one again.")
@click.option(
    "--step",
    type=click.Choice(["retry", "skip", "fail"]),
    help="With --resume: what to do about a step that may have been done.",
)
@click.option("--carry", metavar="RUN_ID", hidden=True, help="What --detach has another process do.")
@click.option("--list", "lists", is_flag=True, help="The runs there are.")
@click.option("--status", metavar="RUN_ID", help="Where a run is.")
@click.option("--logs", metavar="RUN_ID", help="What its program has printed.")
@click.option("-f", "--follow", is_flag=True, help="With --logs: until it ends.")
@click.option("--cancel", metavar="RUN_ID", help="End a run and all its processes.")
@click.option("--json", "as_json", is_flag=True, help="With --list and --status.")
@click.option("--model", metavar="NAME", help="The model that `default` means.")
@click.option("--timeout", type=click.IntRange(min=1), metavar="SECONDS", help="[default: no limit]")
@click.option(
    "--retries", type=click.IntRange(0, 100), default=0, help="Start it again after a failure. [default: 0]"
)
@click.option("--data-dir", metavar="PATH", help="Where runs are kept. [default: the user's data folder]")
def command(
    *,
    argv: tuple[str, ...],
    detach: bool,
    resume: str | None,
    step: str | None,
    carry: str | None,
    lists: bool,
    status: str | None,
    logs: str | None,
    follow: bool,
    cancel: str | None,
    as_json: bool,
    model: str | None,
    timeout: int | None,
    retries: int,
    data_dir: str | None,
) -> int:
    """Run a program so that a crash costs nothing twice: its finished model calls are kept, and asked no more.

    It has your environment and terminal, but for the provider's keys; its exit code is this command's.
    """
    named = (resume, carry, status, logs, cancel)
    if sum([bool(argv), lists, *(run_id is not None for run_id in named)]) != 1:
        raise click.UsageError(
            "Say one thing to do: -- COMMAND…, --resume, --list, --status, --logs or --cancel."
        )
    if (step is not None and resume is None) or (follow and logs is None):
        raise click.UsageError("--step goes with --resume, and --follow with --logs.")
    have_standard_streams()
    try:
        settings = config.load(os.environ, model=model, data_dir=data_dir)
        if lists:
            return exec_looks.list_all(settings, as_json=as_json)
        if status is not None:
            return exec_looks.status(settings, status, as_json=as_json)
        if logs is not None:
            return exec_looks.logs(settings, logs, follow=follow)
        if cancel is not None:
            return exec_looks.cancel(settings, cancel)
        if resume is not None:
            return _resume(settings, resume, step, detach=detach)
        if carry is not None:
            return _carry(settings, carry)
        return _start(settings, argv, timeout, retries, detach=detach)
    except OutlastError as error:
        exits.say(error.detail)
        return _code_of(error)


def _code_of(error: OutlastError) -> int:
    if isinstance(error, RunNotFound):
        return exits.REFUSED
    return exits.USAGE if isinstance(error, ConfigError) else exits.FAILED


def _start(
    settings: Settings, argv: Sequence[str], timeout_s: int | None, retries: int, *, detach: bool
) -> int:
    if shutil.which(argv[0]) is None:
        exits.say(f"{argv[0]}: there is no such program, or it may not be executed.")
        return _NOT_FOUND
    from outlast.execs import begin

    folder = begin.new_folder(settings)
    new = begin.asked(argv, model=settings.model, timeout_s=timeout_s, retries=retries)
    run = begin.first(folder, new)
    return _detach(settings, folder, run) if detach else _go_on(settings, folder, run)


def _resume(settings: Settings, run_id: str, step: str | None, *, detach: bool) -> int:
    from outlast.execs import begin
    from outlast.steps import Answer

    folder = exec_looks.find(settings, run_id)
    go = _detach if detach else _go_on
    return go(settings, folder, begin.newest if step is None else begin.answered(Answer(step)))


def _carry(settings: Settings, run_id: str) -> int:
    from outlast.execs import begin

    return _go_on(settings, exec_looks.find(settings, run_id), begin.known(run_id))


def _detach(settings: Settings, folder: "Folder", begin: "Begin") -> int:
    """Hand the run in, and have another process carry it out, that no terminal takes along."""
    import asyncio

    from outlast.execs.begin import hand_in

    run_id = asyncio.run(hand_in(folder, begin))
    line = [sys.executable, "-P", "-m", "outlast", "exec", "--carry", run_id]
    line += ["--data-dir", str(settings.data_dir.absolute())]
    if settings.model is not None:
        line += ["--model", settings.model]
    with folder.output.open("ab") as output:
        carrier = subprocess.Popen(
            line, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
    for _ in range(_LOOKS):
        if folder.owner() is not None or carrier.poll() is not None:
            break
        time.sleep(_LOOK_S)  # until then it looks like a run that was interrupted
    click.echo(run_id)
    return exits.OK


def _go_on(settings: Settings, folder: "Folder", begin: "Begin") -> int:
    from outlast import telemetry
    from outlast.execs.going import go_on

    def say(words: str) -> None:
        click.echo(f"outlast: {words}", err=True)

    log = folder.log.open("a", encoding="utf-8")
    telemetry.set_up(settings.log_format, stream=log)
    try:
        return _end(go_on(folder, settings, begin, say))
    finally:
        with suppress(OSError):  # the disk is full, and what is left of the log is lost
            log.close()


def _end(left: "Left") -> int:
    """The program's exit code, or what stands for it; a word about the run if that went otherwise than well."""
    run, again = left.run, f"outlast exec --resume {left.run.id}"
    if left.stopped_by is not None:
        exits.say(f"{run.id} was interrupted. It goes on with: {again}")
        return _BY_SIGNAL + left.stopped_by
    if run.waiting is not None:
        exits.say(
            f"{run.id} waits, for a step that may be done once only may have been done: {bytes(run.waiting).decode()}. "
            f"Say what to do about it: {again} --step retry|skip|fail"
        )
        return _WAITS
    if run.error is None:
        if run.state == "cancelled":
            exits.say(f"{run.id} was cancelled.")
        return exits.OK if run.state == "succeeded" else exits.FAILED
    exits.say(f"{run.id} failed: {run.error.message} To run it again, with its finished model calls: {again}")
    match run.error.code:
        case "timeout":
            return exits.TIMED_OUT
        case "command_not_startable":
            return _NOT_FOUND
        case _ if left.code:
            return left.code if left.code > 0 else _BY_SIGNAL - left.code
        case _:
            return exits.FAILED
