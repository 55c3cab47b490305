"""A server's start: how long until it is healthy, and what memory it then takes."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

from bench import ceiling, ours, peer
from bench.report import Bound, Row
from bench.server import Recipe, start
from bench.turns import Scale


@dataclass(frozen=True)
class Start:
    """One start on an empty data folder."""

    healthy_s: float
    rss_mb: float
    tree_mb: float


def measure(scale: Scale, folder: Path) -> list[Row]:
    """Starts in turns; memory before the first run."""
    recipes = [ours.echoing(), peer.in_memory(), ceiling.recipe()]
    found: dict[str, list[Start]] = {recipe.name: [] for recipe in recipes}
    for _ in range(min(scale.rounds, 5)):
        for recipe in recipes:
            found[recipe.name].append(_start(recipe, folder))
    return [
        Row(
            "start until healthy, s",
            {name: [s.healthy_s for s in some] for name, some in found.items()},
            (Bound(at_most=1),),
            digits=2,
        ),
        Row(
            "server process before the first run, MB",
            {name: [s.rss_mb for s in some] for name, some in found.items()},
            (Bound(at_most=80),),
        ),
        Row(
            "its whole tree, shared pages once, MB",
            {name: [s.tree_mb for s in some] for name, some in found.items()},
        ),
    ]


def _start(recipe: Recipe, folder: Path) -> Start:
    with tempfile.TemporaryDirectory(dir=folder) as data:
        server = start(recipe, Path(data))
        try:
            server.settle()
            return Start(server.healthy_s, server.rss_mb(), server.tree_pss_mb())
        finally:
            server.stop()
