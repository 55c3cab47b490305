"""Measuring in turns: every round asks each server once, so that a noisy neighbour disturbs all of them alike."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from bench.server import Recipe, Server, start

T = TypeVar("T")


@dataclass(frozen=True)
class Scale:
    """How much of everything."""

    rounds: int
    runs: int
    """Submitted in each burst."""
    for_s: float
    """How long each turn of reading lasts."""
    listed: int
    """Runs in the stores whose lists are compared with the peer's."""
    few: int
    many: int
    """Our own list is to be as fast at many runs as at few."""
    lone: int
    """Lone submits in each round."""
    looks: int
    """GETs in each turn beside working agents."""


FULL = Scale(rounds=7, runs=2000, for_s=1.5, listed=10_000, few=1000, many=100_000, lone=50, looks=1000)
QUICK = Scale(rounds=1, runs=100, for_s=0.2, listed=200, few=100, many=1000, lone=5, looks=50)


@contextmanager
def servers(recipes: Sequence[Recipe], folder: Path) -> Iterator[list[Server]]:
    """All of them running and settled, each with a data folder of its own; none afterwards."""
    with ExitStack() as stack:
        running = []
        for recipe in recipes:
            data = stack.enter_context(tempfile.TemporaryDirectory(dir=folder))
            server = start(recipe, Path(data))
            stack.callback(server.stop)
            running.append(server)
        for server in running:
            server.settle()
        yield running


def in_turns(running: Sequence[Server], rounds: int, measure: Callable[[Server], T]) -> dict[str, list[T]]:
    """What `measure` says of each server, round by round, after a warm-up that does not count."""
    for server in running:
        measure(server)
    found: dict[str, list[T]] = {server.name: [] for server in running}
    for _ in range(rounds):
        for server in running:
            found[server.name].append(measure(server))
    return found
