"""Agents for many machines: they call a model, work for a while or die, and say in which attempt they ended."""

import json
import os
import signal
import time
import urllib.error
import urllib.request
from contextlib import suppress

from outlast.runs import Progress

AGENTS = ("calls", "works", "dies", "stays")


class Run:
    """What these agents use of their run."""

    def log(self, message: str) -> None: ...
    def progress(self, progress: Progress) -> None: ...


def ask(text: str) -> int:
    """One call of the model; what was answered."""
    body = {"model": "m", "messages": [{"role": "user", "content": text}]}
    request = urllib.request.Request(
        f"{os.environ['OPENAI_BASE_URL']}/chat/completions",
        json.dumps(body).encode(),
        {"Authorization": f"Bearer {os.environ['OPENAI_API_KEY']}", "Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def calls(prompt: str) -> str:
    """In its first attempt it calls for ever, and notes every answer in the file that the prompt names."""
    while os.environ["OUTLAST_ATTEMPT"] == "1":
        with suppress(OSError):
            status = ask(f"{prompt} attempt 1")
            with open(prompt, "a") as notes:
                notes.write(f"{status}\n")
        time.sleep(0.02)
    return "attempt " + os.environ["OUTLAST_ATTEMPT"]


def works(prompt: str, run: Run) -> str:
    """Works for as many seconds as the prompt says, and shows it."""
    steps = max(1, int(float(prompt.split()[0]) * 10))
    for step in range(steps):
        run.progress(Progress(percentage=100 * step / steps))
        time.sleep(0.1)
    return prompt


def stays(prompt: str, run: Run) -> str:
    """In its first attempt it stays for ever, and says so; in a later one it is done at once."""
    while os.environ["OUTLAST_ATTEMPT"] == "1":
        run.log(f"{prompt} is here")
        time.sleep(0.2)
    return "attempt " + os.environ["OUTLAST_ATTEMPT"]


def dies(prompt: str) -> None:
    """Kills its own process."""
    os.kill(os.getpid(), signal.SIGKILL)
