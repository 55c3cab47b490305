"""Agents for the bench; `outlast.toml` beside this file names them."""

import asyncio
import os
import time

from outlast.runners.protocol import Context, Job

LONGEST_S = 60.0
"""However the bench ends, no agent of it works longer."""


def stamp(prompt: str) -> str:
    """When this code began to run, on the machine's monotonic clock."""
    return str(time.monotonic_ns())


async def stamp_shared(job: Job, context: Context) -> object:
    """The same as a runner's entry; the prompt may ask for so many lines of log first, each with its moment."""
    if job.request.prompt.isdecimal():
        for n in range(int(job.request.prompt)):
            context.log(str(time.monotonic_ns()))
            await asyncio.sleep(0.081 + n % 7 * 0.003)  # in step with nothing
    return str(time.monotonic_ns())


def block(prompt: str) -> str:
    """Blocks its thread in a call that cannot be interrupted."""
    time.sleep(LONGEST_S)
    return "slept"


def tell_and_block(prompt: str) -> str:
    """Says which process it is and when it began, then blocks."""
    print(f"{os.getpid()} {time.monotonic_ns()}", flush=True)
    time.sleep(LONGEST_S)
    return "slept"


def burn(prompt: str) -> str:
    """Takes all the CPU it gets."""
    until = time.monotonic() + LONGEST_S
    while time.monotonic() < until:
        pass
    return "burnt"
