"""Agents for the bench; `outlast.toml` beside this file names them."""

import time

LONGEST_S = 60.0
"""However the bench ends, no agent of it works longer."""


def stamp(prompt: str) -> str:
    """When this code began to run, on the machine's monotonic clock."""
    return str(time.monotonic_ns())


async def stamp_shared(job: object, context: object) -> object:
    """The same as a runner's entry."""
    return str(time.monotonic_ns())


def block(prompt: str) -> str:
    """Blocks its thread in a call that cannot be interrupted."""
    time.sleep(LONGEST_S)
    return "slept"


def burn(prompt: str) -> str:
    """Takes all the CPU it gets."""
    until = time.monotonic() + LONGEST_S
    while time.monotonic() < until:
        pass
    return "burnt"
