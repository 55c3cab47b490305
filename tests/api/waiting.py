"""Waiting for what no event tells of: the server's side of a connection, a watcher that came or went."""

import asyncio
from collections.abc import Callable


async def until(condition: Callable[[], bool], what: str, timeout_s: float = 5.0) -> None:
    """Look up every few milliseconds until the condition holds; fail with what was waited for."""
    try:
        async with asyncio.timeout(timeout_s):
            while not condition():  # noqa: ASYNC110  # there is no event for it
                await asyncio.sleep(0.002)
    except TimeoutError:
        raise AssertionError(f"waited {timeout_s} s for {what}") from None
