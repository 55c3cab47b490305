"""A run's events on stdout: as JSON lines for programs, or as words with the model's text as it is made."""

import sys

import click
import msgspec

from outlast.client import Client, Event, Progress, Run
from outlast.commands import ending, exits, show


def follow(client: Client, run_id: str, *, after: int = 0, as_json: bool, tokens: bool | None) -> int:
    """Print the run's events until it has ended; the exit code says how. A Ctrl-C ends the printing, not the run."""
    if tokens is None:
        tokens = sys.stdout.isatty() and not as_json
    words = Words()
    try:
        for event in client.stream(run_id, after=after, tokens=tokens):
            if as_json:
                show.line(msgspec.json.encode(event))
            else:
                words.say(event)
    except KeyboardInterrupt:
        words.end_line()
        return ending.interrupted(run_id)
    run = client.get(run_id)
    return _json_end(run) if as_json else words.tell(client, run)


def _json_end(run: Run) -> int:
    return exits.OK if run.status == "succeeded" else exits.FAILED


class Words:
    """Events as lines for people."""

    def __init__(self) -> None:
        self._streamed = ""
        self._is_mid_line = False

    def say(self, event: Event) -> None:
        """Print one event; `complete` is left for `tell`."""
        if event.event == "token":
            self._say_token(str(event.data.get("text", "")))
        elif event.event != "complete":
            self.end_line()
            click.echo(_words(event))

    def tell(self, client: Client, run: Run) -> int:
        """Print how the run ended, and its result unless the very same text was just streamed."""
        self.end_line()
        if run.status != "succeeded":
            return ending.tell(client, run, as_json=False)
        result = client.result(run.job_id).result
        click.echo(show.status("succeeded"), err=True)
        if not (isinstance(result, str) and result and self._streamed.strip().endswith(result.strip())):
            show.value(result)
        return exits.OK

    def end_line(self) -> None:
        """Finish a line of streamed text."""
        if self._is_mid_line:
            click.echo()
            self._is_mid_line = False

    def _say_token(self, text: str) -> None:
        self._streamed += text
        self._is_mid_line = not text.endswith("\n") if text else self._is_mid_line
        show.text(text, newline=False)


def _words(event: Event) -> str:
    data = event.data
    match event.event:
        case "status":
            attempt = f" (attempt {data['attempt']})" if data.get("attempt", 1) != 1 else ""
            why = f": {show.plain(str(data['message']))}" if "message" in data else ""
            return f"{show.status(str(data.get('status')))}{attempt}{why}"
        case "progress":
            return _progress_words(event)
        case "log":
            return show.plain(str(data.get("message", "")))
        case "step":
            return _step_words(data)
        case "model_call" if isinstance(data.get("ms"), int | float):
            return _model_call_words(data)
        case kind:
            return f"{kind} {show.plain(msgspec.json.encode(data).decode())}"


def _progress_words(event: Event) -> str:
    progress = msgspec.convert(event.data, Progress, strict=False)
    step = show.plain(progress.current_step or "")
    steps = f" ({progress.steps_completed or 0} of {progress.steps_total})" if progress.steps_total else ""
    return f"[{progress.percentage:.0f}%] {step}{steps}".rstrip()


def _step_words(data: dict[str, object]) -> str:
    """What became of a step; an answer is what a person has said."""
    said = [
        f"step {data.get('step')}",
        f"answered {data['answer']}" if "answer" in data else str(data.get("state")),
        "before" if data.get("replayed") else "",
        f"in {data['ms']} ms" if "ms" in data and not data.get("replayed") else "",
    ]
    error = f": {data['error']}" if "error" in data else ""
    return show.plain(" ".join(filter(None, said)) + error)


def _model_call_words(data: dict[str, object]) -> str:
    """What one call of the model took; the fields are the gateway's."""
    status = data.get("status", 200)
    answered = "answered" if status == 200 else f"answered {status}"
    if data.get("how", "live") != "live":
        return show.plain(f"model {data.get('model')} {answered}: from the journal")
    tokens = f"{data.get('input_tokens', 0)} tokens in, {data.get('output_tokens', 0)} out"
    seconds = msgspec.convert(data["ms"], float, strict=False) / 1000
    cost = f", ${msgspec.convert(data['cost_usd'], float, strict=False):.6f}" if "cost_usd" in data else ""
    return show.plain(f"model {data.get('model')} {answered}: {tokens}, {seconds:.1f}s{cost}")
