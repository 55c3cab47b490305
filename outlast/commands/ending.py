"""Waiting for a run to end, and what a command says and returns when it has."""

import click

from outlast.client import Client, Run, WaitTimedOut
from outlast.commands import exits, show
from outlast.commands.liveline import LiveLine

_LOOK_EVERY_S = 1.0
"""How often the live line asks; without one the server holds the request until the run ends."""
_ASK_EVERY_S = 30.0


def wait(client: Client, run_id: str, timeout_s: float | None) -> Run:
    """The run once it has ended; `WaitTimedOut` after `timeout_s`."""
    with LiveLine() as line:
        every_s = _LOOK_EVERY_S if line.is_shown else _ASK_EVERY_S
        for run in client.watch(run_id, every_s=every_s, timeout_s=timeout_s):
            if run.is_final:
                return run
            line.show(run.status, show.progress(run.progress))
    raise WaitTimedOut(f"Run {run_id} has not ended after {timeout_s or 0:g} s; it goes on.")


def wait_and_tell(client: Client, run_id: str, timeout_s: float | None, *, as_json: bool) -> int:
    """Wait for the run and print what came of it; a Ctrl-C ends the waiting, not the run."""
    try:
        run = wait(client, run_id, timeout_s)
    except KeyboardInterrupt:
        return interrupted(run_id)
    return tell(client, run, as_json=as_json)


def tell(client: Client, run: Run, *, as_json: bool) -> int:
    """Print the result of a run that has ended, or why there is none."""
    if run.status == "succeeded":
        return print_result(client, run.job_id, as_json=as_json)
    if as_json:
        show.document(run.body)
    why = f": {show.plain(run.error)}" if run.error else "."
    code = f" ({run.error_code})" if run.error_code else ""
    exits.say(f"Run {run.job_id} {_ended(run)}{why}{code}")
    return exits.FAILED


def print_result(client: Client, run_id: str, *, as_json: bool) -> int:
    """Print what the run returned; `RunNotSucceeded` if that is nothing."""
    result = client.result(run_id)
    if as_json:
        show.document(result.body)
    else:
        show.value(result.result)
    return exits.OK


def interrupted(run_id: str) -> int:
    """What a Ctrl-C says: the run goes on."""
    click.echo(
        f"Interrupted; run {run_id} goes on. Follow it with `outlast stream {run_id}`, "
        f"end it with `outlast cancel {run_id}`.",
        err=True,
    )
    return exits.INTERRUPTED


def _ended(run: Run) -> str:
    return "was cancelled" if run.status == "cancelled" else run.status
