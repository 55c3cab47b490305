"""Agents of every kind of manners, for tests: the request's `function` names one of these.

Each says `ready` in its log when it does what its name says, and prints the pids of what it started.
"""

import asyncio
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from outlast.runners.protocol import AgentFailed, Context, Job
from outlast.runs import Progress
from tests.agents.callables import start_family

Agent = Callable[[Job, Context], Awaitable[object]]


async def run(job: Job, context: Context) -> object:
    agent: Agent = globals()[job.request.function or ""]
    return await agent(job, context)


async def echo(job: Job, context: Context) -> object:
    return job.request.prompt


async def at(job: Job, context: Context) -> object:
    """When its code began to run, on the clock that all processes share."""
    return time.monotonic()


async def where(job: Job, context: Context) -> object:
    """What the agent sees of its surroundings."""
    return {
        "pid": os.getpid(),
        "parent": os.getppid(),
        "session": os.getsid(0),
        "nice": os.nice(0),
        "cwd": os.getcwd(),
        "environ": dict(os.environ),
        "block": Path("/proc/self/environ").read_bytes().decode(),
        "parents_block": Path(f"/proc/{os.getppid()}/environ").read_bytes().decode(),
        "stdin": Path("/dev/stdin").read_bytes().decode(),
        "limits": Path("/proc/self/limits").read_text(),
        "exec_mark": subprocess.check_output(["/usr/bin/env"], text=True),
    }


async def sleeper(job: Job, context: Context) -> object:
    """Obeys a cancel at once."""
    context.log("ready")
    await asyncio.sleep(3600)
    return "woke up"


async def tidy(job: Job, context: Context) -> object:
    """Takes a moment to clean up, and leaves a file to show for it."""
    context.log("ready")
    try:
        await asyncio.sleep(3600)
    finally:
        await asyncio.sleep(0.3)
        Path(job.request.prompt).write_text("cleaned up")
    return "woke up"


async def stubborn(job: Job, context: Context) -> object:
    """Takes no notice of a cancel, nor of SIGTERM."""
    if threading.current_thread() is threading.main_thread() and job.request.prompt == "alone":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    context.log("ready")
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            continue


async def blocker(job: Job, context: Context) -> object:
    """Blocks its loop."""
    context.log("ready")
    await asyncio.sleep(0.2)
    time.sleep(3600)
    return "woke up"


async def family(job: Job, context: Context) -> object:
    """Starts processes that like to stay."""
    start_family()
    context.log("ready")
    if job.request.prompt == "stay":
        await asyncio.sleep(3600)
    if job.request.prompt == "crash":
        os.kill(os.getpid(), signal.SIGKILL)
    return "left them"


async def bomb(job: Job, context: Context) -> object:
    """64 processes that make others which end at once; each may make 50, so it burns out by itself."""
    context.log("ready")
    for _ in range(6):
        os.fork()
    for _ in range(50):
        if os.fork() == 0:
            os._exit(0)
        os.waitpid(-1, os.WNOHANG)
        time.sleep(0.1)
    os._exit(0)


async def crowd(job: Job, context: Context) -> object:
    """1,100 processes that do nothing, for a while."""
    for _ in range(1_100):
        if os.fork() == 0:
            time.sleep(20)
            os._exit(0)
    await asyncio.sleep(20)
    return "a crowd"


async def exits(job: Job, context: Context) -> object:
    sys.exit(3)


async def exits_hard(job: Job, context: Context) -> object:
    os._exit(4)


async def dies(job: Job, context: Context) -> object:
    """Kills the process it runs in."""
    context.log("ready")
    await asyncio.sleep(0.1)
    os.kill(os.getpid(), signal.SIGKILL)
    await asyncio.sleep(3600)
    return None


async def dies_once(job: Job, context: Context) -> object:
    if job.attempt == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return f"attempt {job.attempt}"


async def chatters(job: Job, context: Context) -> object:
    """Prints for ever."""
    context.log("ready")
    while True:
        print("la " * 20)


async def prints(job: Job, context: Context) -> object:
    """Prints bytes of every sort."""
    sys.stdout.write("one\ntwo\r\n")
    sys.stderr.write("to stderr\n")
    sys.stdout.flush()
    os.write(1, b"not \xff utf-8\nnul \x00 here\n")
    os.write(1, b"x" * 100_000 + b"\n")
    os.write(1, b"no newline at the end")
    return "done"


async def eats(job: Job, context: Context) -> object:
    """Allocates until it may not."""
    context.log("ready")
    eaten = []
    while True:
        eaten.append(bytearray(16 * 1024 * 1024))


async def fails(job: Job, context: Context) -> object:
    raise ValueError("the moon is in the wrong house")


async def fails_by_name(job: Job, context: Context) -> object:
    raise AgentFailed("no_moon", "There is no moon tonight.")


async def fails_once(job: Job, context: Context) -> object:
    if job.attempt == 1:
        raise ValueError("not yet")
    return f"attempt {job.attempt}"


async def babbles(job: Job, context: Context) -> object:
    """Fails after 90 lines of 1,000 letters, and the next time goes on for ever, a line every 10 ms."""
    lines = 0
    while job.attempt > 1 or lines < 90:
        context.log("x" * 1000)
        lines += 1
        await asyncio.sleep(0.01)
    raise ValueError("not yet")


async def gives(job: Job, context: Context) -> object:
    """A result of the sort that the prompt names."""
    found: object = {
        "none": None,
        "blank": " \n ",
        "surrogate": {"lone\ud800": ["\udfff", "pair \ud83d\ude00"]},
        "nan": [float("nan"), float("inf"), 1.5],
        "object": object(),
        "bytes": b"ab",
        "nested": {"a": [1, {"b": None}], "é": "ü\u0000\n\"'"},
        "big": "ü" * (5 * 1024 * 1024),
        "huge": "x" * (33 * 1024 * 1024),
        "deep": _deep(),
        "zero": 0,
    }[job.request.prompt]
    return found


def _deep() -> list[object]:
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    return deep


async def reports(job: Job, context: Context) -> object:
    """Reports progress in quick succession, from a thread too, and tokens."""
    for n in range(1, 101):
        context.progress(Progress(percentage=n, current_step=f"step {n}", steps_completed=n, steps_total=100))
        context.token(f"{n} ")
    await asyncio.to_thread(context.log, "from a thread")
    context.log("a lone \ud800 surrogate")
    await asyncio.sleep(0.3)
    return "reported"


async def closes_all(job: Job, context: Context) -> object:
    """Closes descriptors it does not own, and goes on."""
    os.closerange(3, 256)
    time.sleep(3600)
    return "done"


async def pools(job: Job, context: Context) -> object:
    """Uses worker processes, and ends one by SIGTERM."""
    fork = multiprocessing.get_context("fork")
    stays = fork.Process(target=time.sleep, args=(3600,))
    stays.start()
    stays.terminate()
    stays.join(10)
    with fork.Pool(2) as pool:
        return [stays.exitcode, pool.map(abs, [-1, -2, -3])]


async def forks_and_returns(job: Job, context: Context) -> object:
    """Two processes come back with a result."""
    return "parent" if os.fork() else "child"


async def litters(job: Job, context: Context) -> object:
    """Leaves temporary files."""
    folder = Path(os.environ["TMPDIR"])
    (folder / "deep").mkdir()
    (folder / "deep" / "file").write_text("x")
    return str(folder)


async def thread_stays(job: Job, context: Context) -> object:
    """Leaves a thread that does not end."""
    threading.Thread(target=time.sleep, args=(3600,)).start()
    return "returned"
