"""What `outlast exec` shows of its runs, and how it ends one. Looked at in their folders, whoever has them."""

import asyncio
import shlex
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click
import msgspec

from outlast.commands import exits
from outlast.config import Settings
from outlast.errors import ConfigError, RunNotFound

if TYPE_CHECKING:
    from outlast.execs.folder import Folder, Seen

_LOOK_S = 0.1


def list_all(settings: Settings, *, as_json: bool) -> int:
    """Print all runs, the newest first."""
    from outlast.execs.folder import folders

    found = [seen for folder in folders(settings.data_dir) if (seen := _seen(folder)) is not None]
    found.sort(key=lambda seen: seen.run_id, reverse=True)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(found)))
    else:
        from outlast.commands import show

        show.columns(("RUN", "STATUS", "CREATED", "COMMAND"), [_row(seen) for seen in found])
    return exits.OK


def status(settings: Settings, run_id: str, *, as_json: bool) -> int:
    """Print where the run is."""
    seen = _look(find(settings, run_id))
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(seen)))
        return exits.OK
    from outlast.commands import show

    show.pairs(
        [
            ("Run", seen.run_id),
            ("Status", show.status(seen.status) + (f" (pid {seen.pid})" if seen.pid else "")),
            ("Attempt", str(seen.attempt)),
            ("Command", show.plain(shlex.join(seen.argv))),
            ("Folder", show.plain(seen.cwd or "")),
            ("Error", show.plain(f"{seen.error} ({seen.error_code})" if seen.error else "")),
            ("Created", _moment(seen.created_at)),
            ("Started", _moment(seen.started_at)),
            ("Completed", _moment(seen.finished_at)),
            ("Model", _spent(seen)),
            ("Kept in", seen.folder),
        ]
    )
    return exits.OK


def logs(settings: Settings, run_id: str, *, follow: bool) -> int:
    """Print what the newest run's program has printed, as far as it is kept."""
    from outlast.clock import SystemClock
    from outlast.commands import show

    folder = find(settings, run_id)
    shown = 0
    while True:
        seen = _look(folder)
        lines = asyncio.run(folder.logged(seen.run_id, shown, SystemClock()))
        for _, line in lines:
            show.text(line)
        shown = lines[-1][0] if lines else shown
        if not follow or seen.has_ended or seen.status == "interrupted":
            return exits.OK
        time.sleep(_LOOK_S)


def cancel(settings: Settings, run_id: str) -> int:
    """End the run; 3 if it had ended."""
    from outlast.clock import SystemClock
    from outlast.execs import begin

    folder = find(settings, run_id)
    if asyncio.run(begin.cancel(folder, SystemClock())):
        click.echo(f"{run_id} is cancelled.")
        return exits.OK
    exits.say(f"{run_id} has ended before; it cannot be cancelled.")
    return exits.REFUSED


def find(settings: Settings, run_id: str) -> "Folder":
    """The folder that the run is kept in."""
    from outlast.clock import SystemClock
    from outlast.execs.folder import find

    return asyncio.run(find(settings.data_dir, run_id, SystemClock()))


def _look(folder: "Folder") -> "Seen":
    from outlast.clock import SystemClock

    seen = asyncio.run(folder.look(SystemClock()))
    if seen is None:
        raise RunNotFound(f"{folder.path.name} was interrupted before it was handed in.")
    return seen


def _seen(folder: "Folder") -> "Seen | None":
    try:
        return _look(folder)
    except (ConfigError, RunNotFound):
        return None  # not one of ours, or not any more


def _row(seen: "Seen") -> Sequence[str]:
    from outlast.commands import show

    return seen.run_id, seen.status, _moment(seen.created_at), show.plain(shlex.join(seen.argv))


def _spent(seen: "Seen") -> str:
    if not seen.model_calls:
        return ""
    return f"{seen.model_calls} calls, {seen.input_tokens} tokens in, {seen.output_tokens} out"


def _moment(at: int | None) -> str:
    from outlast.clock import iso

    return "" if at is None else iso(at)
