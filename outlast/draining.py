"""What SIGTERM and SIGINT do to a process of ours: it drains first, and only then hears of the signal."""

import asyncio
import signal
import threading
from collections.abc import Callable, Collection, Coroutine, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Protocol

AT_ONCE = signal.SIGUSR1
"""Tells a companion not to drain, or no longer. A second SIGTERM would not do: one that comes soon after the first is
lost in it."""

Handler = Callable[[int, FrameType | None], object] | int | None


class Drains(Protocol):
    """What can be drained."""

    def drain(self) -> Coroutine[None, None, None]: ...


@contextmanager
def signals_drain(server: Drains, at_once: Collection[signal.Signals] = ()) -> Iterator[None]:
    """Drain before whoever handled SIGTERM and SIGINT until now does; a second signal goes to them at once.

    So does a signal of `at_once`, even if it is the first.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    tasks: list[asyncio.Task[None]] = []
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, *at_once)}

    def pass_on(number: int, frame: FrameType | None) -> None:
        _pass_on(before[signal.Signals(number)], number, frame)

    def begin(number: int, frame: FrameType | None) -> None:
        if tasks and not tasks[0].done():
            tasks[0].cancel()
        elif tasks or number in at_once:
            pass_on(number, frame)
        else:
            tasks.append(loop.create_task(server.drain()))
            # Not a `finally` in the task: one that is cancelled before it began runs none.
            tasks[0].add_done_callback(lambda drained: pass_on(number, frame))

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
