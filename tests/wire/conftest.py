"""A real server on each store in turn for the tests of one module, with agents that give back what they are told to."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.kept import Kept, server_for
from tests.live import Live
from tests.postgres import Postgres

AGENTS = """
import json
import time
from pathlib import Path


def give(prompt, run):
    return json.loads(Path(prompt).read_text())


def tell(prompt, run):
    text = json.loads(Path(prompt).read_text())
    run.log(text)
    raise ValueError(text)


def think(prompt, run):
    time.sleep(float(prompt))
    return "Thought."
"""
TOML = "".join(f'[agents.{name}]\nfunction = "agents_of_wire:{name}"\n' for name in ("give", "tell", "think"))


@pytest.fixture(scope="module")
def keeper(request: pytest.FixtureRequest) -> Postgres | None:
    """The PostgreSQL on which the server's store is kept; none for SQLite."""
    return server_for(request)


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory, keeper: Postgres | None) -> Iterator[Live]:
    """A server that may call webhooks on loopback."""
    with started(tmp_path_factory.mktemp("wire"), keeper, {"OUTLAST_WEBHOOK_ALLOW": "127.0.0.1"}) as live:
        yield live


@contextmanager
def started(root: Path, keeper: Postgres | None, env: dict[str, str]) -> Iterator[Live]:
    """A running server over a folder with the agents in it, whose store keeps its promises to the end."""
    (root / "agents_of_wire.py").write_text(AGENTS)
    (root / "outlast.toml").write_text(TOML)
    kept = Kept(root, keeper)
    with Live(root, {**env, **kept.settings}) as live:
        yield live
    asyncio.run(kept.check())
    kept.remove()
