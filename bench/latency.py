"""What one user feels: a lone submit's way to the agent's code, and a GET while agents are at work."""

import time
from collections.abc import Sequence
from pathlib import Path

from bench import ours, peer
from bench.load import percentile
from bench.report import Bound, Row
from bench.runs import Watcher
from bench.server import Server
from bench.turns import Scale, in_turns, servers

_ISOLATED = "isolated"
_AGENTS = 20
_SETTLE_S = 0.5


def lone(scale: Scale, folder: Path) -> list[Row]:
    """From the send of a lone submit to the agent's code running; the agent says when that was."""
    recipes = [ours.stamping(), peer.in_memory(), peer.on_sqlite(), ours.isolated(_ISOLATED, "stamp")]
    with servers(recipes, folder) as running:
        turns = in_turns(running, scale.rounds, lambda server: lone_submits(server, scale.lone))
    waits = {name: [ns for turn in some for ns in turn] for name, some in turns.items()}
    alone = {ours.NAME: waits.pop(_ISOLATED)}
    what = "lone submit to agent code"
    return [
        _waits(f"{what} p50, ms", waits, 50, [Bound(at_most=5)]),
        _waits(f"{what} p99, ms", waits, 99, [Bound(at_most=25)]),
        _waits(f"{what} in a process of its own p50, ms", alone, 50, [Bound(at_most=50)]),
        _waits(f"{what} in a process of its own p99, ms", alone, 99, []),
    ]


def _waits(what: str, waits: dict[str, list[int]], percent: float, bounds: Sequence[Bound]) -> Row:
    return Row(what, {k: [percentile(v, percent) / 1e6] for k, v in waits.items()}, bounds, digits=1)


def lone_submits(server: Server, count: int) -> list[int]:
    """How long each took to the agent's code, in ns."""
    with Watcher(server) as watcher:
        return [_lone_submit(watcher) for _ in range(count)]


def _lone_submit(watcher: Watcher) -> int:
    run_id, sent_at = watcher.submit()
    time.sleep(0.02)  # nobody polls while it starts
    watcher.until(run_id, "succeeded")
    began_at = int(watcher.result(run_id))
    time.sleep(0.01)  # and what it leaves behind is tidied before the next
    return began_at - sent_at


def beside_agents(scale: Scale, folder: Path) -> list[Row]:
    """GET of a status, one at a time, idle and while 20 agents block or burn CPU."""
    rows = []
    for agent, words in (("block", "sleep in a blocking call"), ("burn", "burn CPU")):
        with servers([ours.isolated(ours.NAME, agent, concurrency=_AGENTS)], folder) as (server,):
            rows.append(_beside(server, scale, f"GET status p99 while {_AGENTS} agents {words}, ms"))
    return rows


def _beside(server: Server, scale: Scale, what: str) -> Row:
    idle: list[float] = []
    busy: list[float] = []
    with Watcher(server) as watcher:
        for _ in range(scale.rounds):
            idle.append(_p99_ms(watcher, _ended(watcher), scale.looks))
            run_ids = [watcher.submit()[0] for _ in range(_AGENTS)]
            for run_id in run_ids:
                watcher.until(run_id, "running")
            time.sleep(_SETTLE_S)
            busy.append(_p99_ms(watcher, run_ids[0], scale.looks))
            for run_id in run_ids:
                watcher.cancel(run_id)
            time.sleep(_SETTLE_S)
    return Row(what, {ours.NAME: busy, "idle": idle}, (Bound("idle", at_most=2),), digits=2)


def _ended(watcher: Watcher) -> str:
    run_id, _ = watcher.submit()
    watcher.until(run_id, "running")
    watcher.cancel(run_id)
    time.sleep(_SETTLE_S)
    return run_id


def _p99_ms(watcher: Watcher, run_id: str, looks: int) -> float:
    waits = []
    for _ in range(looks):
        waits.append(watcher.look(run_id))
        time.sleep(0.001)
    return percentile(waits, 99) / 1e6
