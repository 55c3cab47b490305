"""Reading: a run's status, and lists of 20 as the number of runs grows."""

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from bench import ceiling, ours, peer
from bench.load import drive, get
from bench.report import Bound, Row
from bench.runs import Watcher, accepted, status_request
from bench.server import Recipe, Server
from bench.turns import Scale, in_turns, servers

_LIST = get("/api/v1/runs?page_size=20")
_DISTINCT = 100
"""Runs whose status is asked for in turn."""


@dataclass(frozen=True)
class Read:
    """One turn of reading."""

    rate: float
    p99_ms: float
    per_cpu_s: float


def status(scale: Scale, folder: Path) -> list[Row]:
    """GET of finished runs' status."""
    recipes = [ours.echoing(), peer.in_memory(), peer.on_sqlite(), ceiling.recipe()]
    with servers(recipes, folder) as running:
        asked = {server.name: [status_request(run_id) for run_id in _finished(server)] for server in running}
        reads = in_turns(running, scale.rounds, lambda server: _read(server, asked[server.name], scale.for_s))
    return [
        _rates("GET status, per second", reads, [Bound(peer.MEMORY, at_least=2.5)]),
        Row("GET status p99, ms", {name: [r.p99_ms for r in some] for name, some in reads.items()}, digits=1),
    ]


def lists(scale: Scale, folder: Path) -> list[Row]:
    """A list of 20 beside the peer's, then our own list with few and with many runs."""
    return [*_beside_the_peer(scale, folder), *_as_it_grows(scale, folder)]


def _beside_the_peer(scale: Scale, folder: Path) -> list[Row]:
    recipes = [ours.echoing(), peer.in_memory(), peer.on_sqlite()]
    with servers(recipes, folder) as running:
        for server in running:
            _submit_and_wait(server, scale.listed)
        reads = in_turns(running, scale.rounds, lambda server: _read(server, [_LIST], scale.for_s))
    return [
        _rates(f"list of 20 at {scale.listed:,} runs, per second", reads, [Bound(peer.MEMORY, at_least=20)])
    ]


def _as_it_grows(scale: Scale, folder: Path) -> list[Row]:
    few = f"{ours.NAME} at {scale.few:,} runs"
    recipes = [_filled(ours.NAME, scale.many), _filled(few, scale.few)]
    with servers(recipes, folder) as running:
        reads = in_turns(running, scale.rounds, lambda server: _read(server, [_LIST], scale.for_s))
    return [_rates(f"list of 20 at {scale.many:,} runs, per second", reads, [Bound(few, at_least=1 / 1.5)])]


def _filled(name: str, runs: int) -> Recipe:
    fill: Callable[[Path], None] = partial(ours.fill, runs=runs)
    return replace(ours.echoing(name), prepare=fill)


def _rates(what: str, reads: dict[str, list[Read]], bounds: Iterable[Bound]) -> Row:
    return Row(
        what,
        {name: [read.rate for read in some] for name, some in reads.items()},
        tuple(bounds),
        per_cpu={name: [read.per_cpu_s for read in some] for name, some in reads.items()},
    )


def _read(server: Server, requests: Sequence[bytes], for_s: float) -> Read:
    cpu_s = server.cpu_s()
    load = drive(server.port, itertools.cycle(requests), expected=200, for_s=for_s)
    used_s = max(server.cpu_s() - cpu_s, 0.01)
    return Read(load.rate, load.percentile_ms(99), len(load.latencies_ns) / used_s)


def _finished(server: Server) -> list[str]:
    if server.name == ceiling.NAME:
        return ["run_1"]
    return _submit_and_wait(server, _DISTINCT)


def _submit_and_wait(server: Server, runs: int) -> list[str]:
    submits = itertools.repeat(server.recipe.submit, runs)
    load = drive(server.port, submits, expected=202, for_s=120.0, keep=True)
    run_ids = [accepted(body) for body in load.bodies]
    with Watcher(server) as watcher:
        watcher.all_succeeded(run_ids)
    return run_ids
