"""What SIGTERM and SIGINT do to a process of ours: it drains first, and only then hears of the signal."""

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Protocol

Handler = Callable[[int, FrameType | None], object] | int | None


class Drains(Protocol):
    """What can be drained."""

    async def drain(self) -> None: ...


@contextmanager
def signals_drain(server: Drains) -> Iterator[None]:
    """Drain before whoever handled SIGTERM and SIGINT until now does; a second signal goes to them at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    tasks: list[asyncio.Task[None]] = []
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    async def drain(number: int, frame: FrameType | None) -> None:
        try:
            await server.drain()
        finally:
            _pass_on(before[signal.Signals(number)], number, frame)

    def begin(number: int, frame: FrameType | None) -> None:
        if tasks:
            tasks[0].cancel()
        else:
            tasks.append(loop.create_task(drain(number, frame)))

    for number in before:
        signal.signal(number, lambda number, frame: loop.call_soon_threadsafe(begin, number, frame))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _pass_on(handler: Handler, number: int, frame: FrameType | None) -> None:
    if callable(handler):
        handler(number, frame)
    elif handler == signal.SIG_DFL:
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)
