"""A real server for the tests of one module, with agents that give back what they are told to."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live import Live

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
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A server that may call webhooks on loopback."""
    with started(tmp_path_factory.mktemp("wire"), {"OUTLAST_WEBHOOK_ALLOW": "127.0.0.1"}) as live:
        yield live


def started(root: Path, env: dict[str, str]) -> Live:
    """A server over a folder with the agents in it; start it by entering it."""
    (root / "agents_of_wire.py").write_text(AGENTS)
    (root / "outlast.toml").write_text(TOML)
    return Live(root, env)
