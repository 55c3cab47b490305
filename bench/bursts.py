"""Many submits at once: how fast they are acknowledged, and how soon all of them are done."""

import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import ceiling, ours, peer
from bench.load import Load, drive
from bench.report import Bound, Row
from bench.runs import Watcher, accepted
from bench.server import Server
from bench.turns import Scale, in_turns, servers


@dataclass(frozen=True)
class Burst:
    """One burst of submits over 32 connections, and the runs it began."""

    load: Load
    submit_cpu_s: float
    done_s: float
    """From the first submit to the end of the last run."""
    done_cpu_s: float


def measure(scale: Scale, folder: Path) -> list[Row]:
    """Submit, and no-op runs end to end."""
    recipes = [ours.echoing(), peer.in_memory(), peer.on_sqlite(), ceiling.recipe()]
    with servers(recipes, folder) as running:
        bursts = in_turns(
            running,
            scale.rounds,
            lambda server: burst(server, scale.runs, to_the_end=server.name != ceiling.NAME),
        )
    ended = {name: some for name, some in bursts.items() if name != ceiling.NAME}
    n = scale.runs
    return [
        Row(
            "submit, per second",
            {name: [b.load.rate for b in some] for name, some in bursts.items()},
            (Bound(peer.MEMORY, at_least=2.5), Bound(peer.SQLITE, at_least=8)),
            per_cpu={name: each(n, [b.submit_cpu_s for b in some]) for name, some in bursts.items()},
        ),
        Row(
            "submit p50, ms", {k: [b.load.percentile_ms(50) for b in v] for k, v in bursts.items()}, digits=1
        ),
        Row(
            "submit p99, ms", {k: [b.load.percentile_ms(99) for b in v] for k, v in bursts.items()}, digits=1
        ),
        Row(
            "no-op runs end to end, per second",
            {name: [n / b.done_s for b in some] for name, some in ended.items()},
            (Bound(peer.MEMORY, at_least=2),),
            per_cpu={name: each(n, [b.done_cpu_s for b in some]) for name, some in ended.items()},
        ),
    ]


def burst(server: Server, runs: int, *, connections: int = 32, to_the_end: bool = True) -> Burst:
    """Submit, and wait until all of them have succeeded unless nobody carries them out."""
    cpu_s, began = server.cpu_s(), time.monotonic()
    submits = itertools.repeat(server.recipe.submit, runs)
    load = drive(server.port, submits, expected=202, connections=connections, keep=True)
    submit_cpu_s = server.cpu_s() - cpu_s
    if not to_the_end:
        return Burst(load, submit_cpu_s, load.seconds, submit_cpu_s)
    with Watcher(server) as watcher:
        end = watcher.all_succeeded([accepted(body) for body in load.bodies])
    return Burst(load, submit_cpu_s, end.at - began, end.cpu_s - cpu_s)


def each(count: int, cpu_s: Sequence[float]) -> list[float]:
    """So many of them for a second of CPU."""
    return [count / max(seconds, 0.01) for seconds in cpu_s]
