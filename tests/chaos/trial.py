"""One trial from the first process to the last: fleet, clients, harm, the last look, and what is written of it all."""

import asyncio
import threading
import time
from collections.abc import Coroutine
from pathlib import Path

import msgspec

from tests.chaos.audit import audit, settle
from tests.chaos.driver import drive
from tests.chaos.fleet import Fleet
from tests.chaos.history import History, Said
from tests.chaos.monkey import Monkey

CLIENTS_END_S = 240.0
"""How long after the harm the last client may need to have its answers."""

AUDIT_S = 900.0
"""How long it may take to read everything once more."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What kind of trial."""

    store: str = "postgres"
    seed: int = 1
    seconds: float = 300.0
    rate: float = 30.0
    """Submits a second that the clients try for, batches counted once."""
    clients: int = 120
    every_s: float = 3.0
    """Between two harms, on average."""


def carry_out(plan: Plan, root: Path) -> Path:
    """The history of one trial, in a file below `root`, where the logs are as well. Call it in the main thread."""
    history = History(root / "history.jsonl")
    fleet = Fleet(root, plan.store)
    try:
        fleet.start()
        _harm(plan, fleet, history)
        _look_once_more(fleet, history)
    finally:
        for left in fleet.close():
            history.write(left)
        history.close()
    return history.path


def _harm(plan: Plan, fleet: Fleet, history: History) -> None:
    """Clients and harm at the same time; the clients' last questions are answered without harm."""
    until = time.monotonic() + plan.seconds
    clients = _Aside(drive(fleet.urls, history, plan.seed, until, plan.clients, plan.rate))
    clients.start()
    Monkey(fleet, history, plan.seed, plan.every_s).run(until)
    _wait(clients, fleet, history, CLIENTS_END_S)


def _look_once_more(fleet: Fleet, history: History) -> None:
    _do(settle(fleet.urls, history), fleet, history, CLIENTS_END_S)
    fleet.restart_servers()
    _do(audit(fleet.urls, history), fleet, history, AUDIT_S)
    for said in _story(fleet.story):
        history.write(said)


class _Aside(threading.Thread):
    """Coroutines on a loop and in a thread of their own."""

    def __init__(self, work: Coroutine[object, object, None]) -> None:
        super().__init__(daemon=True)
        self._work = work
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            asyncio.run(self._work)
        except BaseException as error:
            self.error = error


def _do(work: Coroutine[object, object, None], fleet: Fleet, history: History, timeout_s: float) -> None:
    aside = _Aside(work)
    aside.start()
    _wait(aside, fleet, history, timeout_s)


def _wait(aside: _Aside, fleet: Fleet, history: History, timeout_s: float) -> None:
    """Until it is through; meanwhile what ends is started again."""
    deadline = time.monotonic() + timeout_s
    while aside.is_alive():
        assert time.monotonic() < deadline, f"waited {timeout_s} s for the clients; logs are in {fleet.root}"
        for ended in fleet.look():
            history.write(ended)
        aside.join(0.1)
    if aside.error is not None:
        raise aside.error


def _story(path: Path) -> list[Said]:
    """What the agents said; a line that a kill cut short is none."""
    words = [line.split() for line in path.read_text().splitlines()] if path.exists() else []
    return [Said(at=float(w[0]), word=w[1], run_id=w[2], attempt=int(w[3])) for w in words if len(w) == 4]
