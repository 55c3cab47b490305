"""Ctrl-C while a server is talked to: an interrupt that neither gets lost nor leaves a lock behind.

Python raises `KeyboardInterrupt` between any two steps. In the `__enter__` of httpx's lock, written in Python, that is
after the lock was taken and before anybody will give it back: closing the client would wait for it for ever. And in a
destructor it is reported and forgotten. Both come right if it is raised a moment later.
"""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

AGAIN_S = 0.01
FRAGILE = frozenset({"__enter__", "__exit__"})
"""Functions that are not to be left in their middle; nothing waits in them itself, only in what they call."""


@contextmanager
def raised_safely() -> Iterator[None]:
    """Inside, a Ctrl-C is raised outside of fragile functions, and again if it was swallowed."""
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield  # ignored, or somebody else's
        return
    hook = sys.unraisablehook
    signal.signal(signal.SIGINT, _interrupt)
    sys.unraisablehook = _raise_again
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGALRM) is _interrupt:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        sys.unraisablehook = hook


def _interrupt(_number: int, frame: FrameType | None) -> None:
    if frame is not None and frame.f_code.co_name in FRAGILE:
        _soon_again()
    else:
        raise KeyboardInterrupt


def _raise_again(swallowed: "sys.UnraisableHookArgs") -> None:
    if swallowed.exc_type is KeyboardInterrupt:
        _soon_again()
    else:
        sys.__unraisablehook__(swallowed)


def _soon_again() -> None:
    signal.signal(signal.SIGALRM, _interrupt)
    signal.setitimer(signal.ITIMER_REAL, AGAIN_S)
