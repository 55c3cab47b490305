"""Runs and results in words, for stdout. What is piped is given byte for byte; a terminal is spared control codes."""

import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

import click
import msgspec

from outlast.client import Progress, Run, Usage

BRIEF_MAX = 80
_COLORS = {"succeeded": "green", "failed": "red", "cancelled": "red", "running": "yellow"}
_CONTROL = dict.fromkeys((*range(32), *range(127, 160)), " ")
_STEERING = {code: None for code in _CONTROL if code not in (9, 10)}


def plain(text: str) -> str:
    """`text` on one line, without what would steer a terminal."""
    return text.translate(_CONTROL)


def text(words: str, *, newline: bool = True) -> None:
    """Print what an agent wrote; a terminal does not get its escape sequences."""
    click.echo(words.translate(_STEERING) if sys.stdout.isatty() else words, nl=newline)


def value(result: object) -> None:
    """Print a result: text as it is, anything else as JSON."""
    text(result if isinstance(result, str) else msgspec.json.format(msgspec.json.encode(result)).decode())


def document(body: bytes) -> None:
    """Print JSON for people and programs alike: as it came, indented."""
    click.echo(msgspec.json.format(body))


def line(body: bytes) -> None:
    """Print JSON on one line."""
    click.echo(msgspec.json.format(body, indent=-1))


def status(name: str) -> str:
    """A status in its color."""
    return click.style(name, fg=_COLORS.get(name))


def progress(of: Progress) -> str:
    """How far a run is, as far as that was measured; nothing otherwise."""
    steps = f"{of.steps_completed or 0} of {of.steps_total} steps" if of.steps_total else ""
    percentage = f"{of.percentage:.0f}%" if of.percentage or steps else ""
    return "  ".join(filter(None, (percentage, steps, plain(of.current_step or ""))))


def run(shown: Run) -> None:
    """Print where a run is, one thing a line."""
    pairs(
        [
            ("Run", shown.job_id),
            ("Status", status(shown.status) + _waiting(shown)),
            ("Progress", progress(shown.progress)),
            ("Starts", moment(shown.run_at)),
            ("Attempt", str(shown.attempt) if (shown.attempt or 0) > 1 else ""),
            ("Error", _error(shown)),
            ("Schedule", shown.schedule_id or ""),
            ("Session", plain(shown.session_id or "")),
            ("Framework", _framework(shown)),
            ("Created", moment(shown.created_at)),
            ("Started", moment(shown.started_at)),
            ("Completed", moment(shown.completed_at)),
            ("Duration", f"{shown.duration_seconds:.1f}s" if shown.duration_seconds is not None else ""),
            ("Model", _usage(shown)),
        ]
    )


def pairs(of: Iterable[tuple[str, str]]) -> None:
    """Print names and their words, one a line; names without words are left out."""
    for name, words in of:
        if words:
            click.echo(f"{name + ':':<11}{words}")


def columns(heading: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print rows below a heading, as wide as the widest."""
    shown = [heading, *rows]
    widths = [max(len(row[column]) for row in shown) for column in range(len(heading))]
    for row in shown:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def table(runs: Iterable[Run]) -> None:
    """Print runs, one a line."""
    rows = [("RUN", "STATUS", "PROGRESS", "CREATED", "SESSION")]
    for shown in runs:
        percentage = f"{shown.progress.percentage:.0f}%"
        rows.append(
            (
                shown.job_id,
                shown.status,
                percentage,
                moment(shown.created_at),
                plain(shown.session_id or ""),
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    for row in rows:
        click.echo(_row(row, widths))


def _row(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = [cell.ljust(width) for cell, width in zip(cells, widths, strict=True)]
    padded[1] = click.style(padded[1], fg=_COLORS.get(cells[1]))
    return "  ".join(padded).rstrip()


def moment(at: datetime | None) -> str:
    """A time as people write it, UTC."""
    return "" if at is None else f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _waiting(shown: Run) -> str:
    waiting = shown.waiting or {}
    kind = plain(str(waiting.get("kind", "")))
    if kind == "tool":
        step, input = plain(str(waiting.get("step"))), brief(waiting.get("input"))
        name = f"{plain(str(waiting.get('name')))} {input}".rstrip()
        return f", waiting: was {name} done? Say so with `outlast answer {shown.job_id} {step}`"
    return f", waiting for {kind}" if kind else ""


def brief(value: object) -> str:
    """A JSON value on one line, cut where it gets long; nothing for null."""
    words = "" if value is None else plain(msgspec.json.encode(value).decode())
    return words if len(words) <= BRIEF_MAX else f"{words[: BRIEF_MAX - 1]}…"


def _error(shown: Run) -> str:
    code = f" ({shown.error_code})" if shown.error_code else ""
    return f"{plain(shown.error)}{code}" if shown.error else ""


def _framework(shown: Run) -> str:
    if shown.runner is None or shown.runner == shown.framework:
        return shown.framework or ""
    return f"{shown.framework}, run by {shown.runner}"


def _usage(shown: Run) -> str:
    used = shown.usage
    if used is None:
        return ""
    return f"{used.model_calls} calls, {used.input_tokens} tokens in, {used.output_tokens} out{_cost(used)}"


def _cost(used: Usage) -> str:
    if used.cost_usd is None:
        return ""
    more = f" and {used.unpriced_calls} calls of unknown price" if used.unpriced_calls else ""
    return f", ${used.cost_usd:.6f}{more}"
