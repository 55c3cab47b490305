"""Agents that call a model and do not want to end: functions of an operator's, for tests through a real server.

Each calls the model over and over, in plain HTTP unless its name says otherwise, and works on whatever the answer is;
the model's side can so tell whether anything of the agent is left. `python rude.py URL KEY PROMPT` does only that.
"""

import asyncio
import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

AGENTS = (
    "tells", "obeys", "obeys_in_a_thread", "ignores", "blocks", "escapes", "prints", "logs", "exits", "eats", "rests",
)  # fmt: skip
EATEN = 8 * 1024 * 1024


def call(begun: threading.Event, base_url: str, key: str, prompt: str) -> None:
    """One streamed call, to its end."""
    place = urlsplit(base_url)
    line = http.client.HTTPConnection(place.hostname or "", place.port, timeout=60)
    body = {"model": "m", "stream": True, "messages": [{"role": "user", "content": prompt}]}
    line.request(
        "POST",
        f"{place.path}/chat/completions",
        json.dumps(body),
        {"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
    )
    answer = line.getresponse()
    answer.read(1)
    begun.set()
    answer.read()


def call_for_ever(begun: threading.Event, base_url: str, key: str, prompt: str) -> None:
    while True:
        with suppress(OSError, http.client.HTTPException):
            call(begun, base_url, key, prompt)
        time.sleep(0.01)


def start_calling(prompt: str) -> None:
    """Call in a thread; returns when the first answer has begun."""
    begun = threading.Event()
    words = (begun, os.environ["OPENAI_BASE_URL"], os.environ["OPENAI_API_KEY"], prompt)
    threading.Thread(target=call_for_ever, args=words, daemon=True).start()
    begun.wait()


def start_escapees(prompt: str) -> None:
    """A fork in a session of its own, and a daemon without environment or open descriptors; both call for ever."""
    words = [os.environ["OPENAI_BASE_URL"], os.environ["OPENAI_API_KEY"], prompt]
    if os.fork() == 0:
        os.setsid()
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        call_for_ever(threading.Event(), *words)
    if (middle := os.fork()) == 0:
        os.setsid()
        if os.fork() == 0:
            os.closerange(0, 256)
            os.execve(sys.executable, [sys.executable, "-I", __file__, *words], {})
        os._exit(0)
    os.waitpid(middle, 0)
    subprocess.Popen([sys.executable, "-I", __file__, *words], start_new_session=True)


def tells(prompt: str) -> list[str]:
    """What it finds in its surroundings: its environment, and that of all above it but the server."""
    found = [repr(dict(os.environ))]
    pid = os.getpid()
    while Path(f"/proc/{pid}/comm").read_text().startswith("outlast-"):
        found += [Path(f"/proc/{pid}/{file}").read_bytes().decode() for file in ("environ", "cmdline")]
        pid = int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
    return found


async def obeys(prompt: str) -> str:
    """Calls through the SDK, in a task that ends when it is cancelled."""
    from openai import AsyncOpenAI

    stream = await AsyncOpenAI().chat.completions.create(
        model="m", messages=[{"role": "user", "content": prompt}], stream=True
    )
    return "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices])


def obeys_in_a_thread(prompt: str) -> str:
    """The same as a sync function, which nobody can cancel."""
    from openai import OpenAI

    stream = OpenAI().chat.completions.create(
        model="m", messages=[{"role": "user", "content": prompt}], stream=True
    )
    return "".join([chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices])


async def ignores(prompt: str) -> None:
    """Takes no notice of a cancel, nor of SIGTERM."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    start_calling(prompt)
    while True:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(3600)


async def blocks(prompt: str) -> None:
    """Blocks its loop, whatever is raised into it."""
    start_calling(prompt)
    while True:
        with suppress(BaseException):
            time.sleep(3600)


async def escapes(prompt: str) -> None:
    """Forks, leaves its session, drops its environment."""
    start_calling(prompt)
    start_escapees(prompt)
    await asyncio.sleep(3600)


def prints(prompt: str) -> None:
    """Prints for ever, in lines and without."""
    start_calling(prompt)
    while True:
        print("la la la\n" * 1000)
        os.write(2, b"x" * 65_536)


def logs(prompt: str, run: "Log") -> None:
    """Logs for ever."""
    start_calling(prompt)
    while True:
        run.log("la " * 1000)


class Log:
    """What `logs` uses of its run."""

    def log(self, message: str) -> None: ...


async def exits(prompt: str) -> None:
    """Calls sys.exit and leaves others behind."""
    start_calling(prompt)
    start_escapees(prompt)
    sys.exit(3)


def eats(prompt: str) -> None:
    """Allocates until it may not."""
    start_calling(prompt)
    eaten = []
    while True:
        eaten.append(bytearray(EATEN))


def rests(prompt: str) -> str:
    """Works for as many seconds as the prompt says, and obeys no one meanwhile; the second time it is quick."""
    seconds = float(prompt) if os.environ["OUTLAST_ATTEMPT"] == "1" else 0.3
    for step in range(int(seconds * 20)):
        print(f"step {step}", flush=True)
        time.sleep(0.05)
    return f"rested in attempt {os.environ['OUTLAST_ATTEMPT']}"


if __name__ == "__main__":
    call_for_ever(threading.Event(), *sys.argv[1:4])
