"""What a companion does from exec to its end; `companion.py` starts it."""

import os
import signal
import socket
import sys
from functools import partial

from outlast import telemetry
from outlast.clock import SystemClock
from outlast.errors import OutlastError
from outlast.handover import Handover, give_signs, take_over
from outlast.store.choose import store_of
from outlast.store.protocol import Store
from outlast.store.sqlite import SqliteStore
from outlast.worker import processes
from outlast.workplace import carry_out

log = telemetry.get("worker")


def main(fd: str, parent: str) -> None:
    """Read what to do from `fd`, and be a worker until told to drain, or until the server is dead."""
    processes.die_with(int(parent))
    processes.name("outlast-worker")
    processes.close_to_peers()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the server tells us when; its terminal does not
    control = socket.socket(fileno=int(fd))
    try:
        handover = take_over(control)
    except EOFError:
        os._exit(1)
    telemetry.set_up(handover.settings.log_format)
    try:
        carry_out(handover.settings, _store(handover), partial(give_signs, control), handover.instance)
    except OutlastError as error:
        log.error("the worker cannot work", reason=error.detail)
        sys.exit(1)


def _store(handover: Handover) -> Store:
    if handover.guest is None:
        return store_of(handover.settings, SystemClock())
    return SqliteStore(handover.settings.data_dir, SystemClock(), socket.socket(fileno=handover.guest))
