"""What a companion does from exec to its end; `companion.py` starts it."""

import os
import signal
import socket

from outlast import telemetry
from outlast.clock import SystemClock
from outlast.companion import Charge, read_charge
from outlast.store.choose import store_of
from outlast.store.protocol import Store
from outlast.store.sqlite import SqliteStore
from outlast.worker import processes
from outlast.workplace import carry_out


def main(fd: str, parent: str) -> None:
    """Read what to do from `fd`, and be a worker until told to drain, or until the server is dead."""
    processes.die_with(int(parent))
    processes.name("outlast-worker")
    processes.close_to_peers()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the server tells us when; its terminal does not
    try:
        charge = read_charge(socket.socket(fileno=int(fd)))
    except EOFError:
        os._exit(1)
    telemetry.set_up(charge.settings.log_format)
    carry_out(charge.settings, _store(charge))


def _store(charge: Charge) -> Store:
    if charge.guest is None:
        return store_of(charge.settings, SystemClock())
    return SqliteStore(charge.settings.data_dir, SystemClock(), socket.socket(fileno=charge.guest))
