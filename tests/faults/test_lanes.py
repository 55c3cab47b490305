"""Order in a session, through kills of everything; and a place that is taken for as long as a process is there."""

import random
import sqlite3
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from tests import invariants
from tests.faults.ward import Ward, ward
from tests.live import Live, wait_until

pytestmark = pytest.mark.slow

RUNS = 12
KILLS = 4
SEED = 20_261_122

AGENT = """
import os
import time
from collections.abc import Iterator

def note(prompt):
    said("start", prompt)
    time.sleep(0.25)
    said("end", prompt)
    return prompt

def said(word, prompt):
    file = os.open("story", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(file, f"{word} {prompt}\\n".encode())
    os.close(file)
"""


def test_a_session_stays_in_order_over_kills_of_everything(tmp_path: Path) -> None:
    (tmp_path / "agents_of_test.py").write_text(AGENT)
    (tmp_path / "outlast.toml").write_text('[agents.note]\nfunction = "agents_of_test:note"\n')
    chance = random.Random(SEED)
    with Live(tmp_path, {"OUTLAST_SESSION_CONCURRENCY": "1"}) as live:
        ids = [live.submit(prompt=str(n), agent="note", session_id="s") for n in range(RUNS)]
        for n in range(KILLS):
            wait_until(lambda n=n: len(_story(tmp_path)) > 4 * n, 30, lambda: f"{_story(tmp_path)} to go on")  # type: ignore[misc]
            time.sleep(chance.uniform(0, 0.5))  # the random moment itself, not a wait for anything
            (live.kill if n % 2 else live.kill_tree)()
            live.start()
        statuses = {str(live.wait_for_end(job_id, 60)["status"]) for job_id in ids}

    assert statuses == {"succeeded"}
    _check_order(_story(tmp_path))
    invariants.check(live.data_dir / "outlast.db")


def _story(root: Path) -> list[tuple[str, int]]:
    story = root / "story"
    lines = story.read_text().splitlines() if story.exists() else []
    return [(word, int(number)) for word, number in (line.split() for line in lines)]


def _check_order(story: list[tuple[str, int]]) -> None:
    """Each run starts after the end of the one before it; what a kill cut off starts again, and nothing earlier."""
    ended, last = -1, 0
    for word, number in story:
        assert last <= number <= ended + 1, story
        last = number
        if word == "end":
            ended = number
    assert ended == RUNS - 1


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Ward]:
    with ward(tmp_path, session_concurrency=1) as place:
        yield place


@pytest.mark.parametrize("end", ["cancel", "timeout"])
def test_the_next_run_starts_when_nothing_is_left_of_an_agent_that_does_not_want_to_end(
    place: Ward, end: str
) -> None:
    first = place.calling("ignores", "stays", session_id="s", timeout=5 if end == "timeout" else 60)
    second = place.live.submit(prompt="next", framework="echo", session_id="s")
    assert place.live.status(second)["blocked_by"] == "session:s"

    if end == "cancel":
        place.cancel(first)
    ended = place.live.wait_for_end(first)
    seen_at = _seen_last(place)

    run = place.live.wait_for_end(second)
    started_at = datetime.fromisoformat(str(run["started_at"])).timestamp()
    ended_at = datetime.fromisoformat(str(ended["completed_at"])).timestamp()
    assert started_at > seen_at - 0.001
    assert started_at - ended_at > 0.5, "it has had its grace"
    place.provider.release()
    with sqlite3.connect(place.live.data_dir / "outlast.db") as database:
        assert database.execute("SELECT count(*) FROM remains").fetchone() == (0,)


def _seen_last(place: Ward) -> float:
    """When an agent was last seen alive, by the wall's clock."""
    seen_at, deadline = 0.0, time.monotonic() + 10
    while True:
        now = time.time()
        if not place.agents():
            return seen_at
        seen_at = now
        assert time.monotonic() < deadline, place.agents()
