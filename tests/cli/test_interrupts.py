"""Ctrl-C at the worst moments."""

import os
import signal
import threading
import time
from types import TracebackType

import pytest

from outlast.commands.interrupts import raised_safely

WAIT_S = 5.0


@pytest.fixture(autouse=True)
def _unignored() -> None:
    """A suite that is started in the background has Ctrl-C ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def ctrl_c() -> None:
    os.kill(os.getpid(), signal.SIGINT)


class Lock:
    """As httpx's is; the Ctrl-C comes when it is just taken."""

    def __init__(self) -> None:
        self.lock = threading.Lock()

    def __enter__(self) -> None:
        self.lock.acquire()
        os.kill(os.getpid(), signal.SIGINT)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.lock.release()


class Swallowing:
    """Its destructor is the place where the Ctrl-C arrives."""

    def __del__(self) -> None:
        ctrl_c()


def swallow_and_wait() -> None:
    with raised_safely():
        Swallowing()
        time.sleep(WAIT_S)


def test_an_interrupt_leaves_no_lock_behind() -> None:
    lock = Lock()

    with pytest.raises(KeyboardInterrupt), raised_safely(), lock:
        time.sleep(WAIT_S)

    assert not lock.lock.locked()


def test_an_interrupt_that_a_destructor_swallows_is_raised_again() -> None:
    with pytest.raises(KeyboardInterrupt):
        swallow_and_wait()


def test_afterwards_everything_is_as_it_was() -> None:
    with raised_safely():
        pass

    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
