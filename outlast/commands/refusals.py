"""The words for an error of the client: what happened, then the way out; and the exit code for it."""

import click

from outlast.client import (
    ClientError,
    Misconfigured,
    NotFound,
    RequestError,
    RunActive,
    RunNotSucceeded,
    ServerError,
    Unauthorized,
    Unreachable,
    WaitTimedOut,
)
from outlast.commands.exits import REFUSED, TIMED_OUT, UNREACHABLE, USAGE, say


def report(error: ClientError) -> int:
    """Say what went wrong on stderr and return the exit code for it."""
    code = f" ({error.code})" if isinstance(error, RequestError | ServerError) else ""
    say(f"{error.detail}{code}")
    hint = _way_out(error)
    if hint:
        click.echo(hint, err=True)
    return _code_for(error)


def _code_for(error: ClientError) -> int:
    match error:
        case Misconfigured():
            return USAGE
        case RequestError():
            return REFUSED
        case WaitTimedOut():
            return TIMED_OUT
        case _:
            return UNREACHABLE


def _way_out(error: ClientError) -> str | None:
    match error:
        case Unreachable():
            return "Start a server with `outlast serve`, or name another with --api-url or OUTLAST_URL."
        case Unauthorized():
            return "Set OUTLAST_API_KEY to a key that this server accepts."
        case NotFound() if error.code == "schedule_not_found":
            return "`outlast schedules list` shows the schedules there are."
        case NotFound():
            return "`outlast list` shows the runs there are."
        case RunActive():
            return "`outlast cancel` ends it."
        case RunNotSucceeded():
            return "`outlast result --wait` waits for it."
        case ServerError() if error.code != "unexpected_answer":
            return "The server's log says more; asking again is safe."
        case _:
            return None
