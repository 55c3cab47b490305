"""`kill -9` of everything, again and again: nothing that was accepted is lost, nothing ends twice."""

import random
import sqlite3
import time
from pathlib import Path

import pytest

from tests import invariants
from tests.live import Live, descendants, processes_with, wait_until

UNFINISHED = 30
KILLS = 20
SEED = 20_261_122

AGENT = """
import time

from outlast.runs import Progress

def work(prompt, run):
    for step in range(5):
        run.progress(Progress(percentage=20.0 * step))
        time.sleep(0.15)
        run.log(f"step {step}")
    return prompt
"""


@pytest.fixture
def live(tmp_path: Path) -> Live:
    """A server with one agent that takes a while, not yet started."""
    (tmp_path / "agents_of_test.py").write_text(AGENT)
    (tmp_path / "outlast.toml").write_text('[agents.work]\nfunction = "agents_of_test:work"\n')
    return Live(tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_nothing_accepted_is_lost_over_twenty_kills_of_the_whole_tree(live: Live) -> None:
    chance = random.Random(SEED)
    accepted: list[str] = []
    with live:
        for _ in range(KILLS):
            _top_up(live, accepted)
            time.sleep(chance.uniform(0.05, 1.2))  # the random moment itself, not a wait for anything
            running = _running(live)
            live.kill_tree()

            live.start()

            wait_until(lambda: _taken_up(live, running), 10, lambda: f"{running} to run again")  # noqa: B023
        for job_id in accepted:
            live.wait_for_end(job_id, 120)

        outcomes = {job_id: live.http.get(f"/api/v1/runs/{job_id}/result").json() for job_id in accepted}
    assert {o.get("status") for o in outcomes.values()} == {"succeeded"}
    assert {o["result"] for o in outcomes.values()} == {f"task {n}" for n in range(len(accepted))}
    assert processes_with(str(live.data_dir)) == []
    invariants.check(live.data_dir / "outlast.db")


def test_a_killed_server_leaves_no_agent_behind(live: Live) -> None:
    with live:
        live.submit(prompt="task", agent="work")
        wait_until(lambda: bool(_running(live)), 10, lambda: "the run to start")
        below = descendants(live.pid)

        live.kill_tree()

        assert below
        wait_until(lambda: not _alive(below), 5, lambda: f"{_alive(below)} to be gone")


def _top_up(live: Live, accepted: list[str]) -> None:
    counts = live.http.get("/stats").json()["by_status"]
    for n in range(UNFINISHED - counts["queued"] - counts["running"]):
        agent = {"framework": "echo"} if n % 3 == 0 else {"agent": "work"}
        accepted.append(live.submit(prompt=f"task {len(accepted)}", **agent))


def _running(live: Live) -> dict[str, int]:
    """The running runs and their attempts."""
    with sqlite3.connect(f"file:{live.data_dir}/outlast.db?mode=ro", uri=True) as database:
        return dict(database.execute("SELECT id, attempt FROM runs WHERE state = 'running'").fetchall())


def _taken_up(live: Live, before: dict[str, int]) -> bool:
    """Whether each of these runs is in a later attempt now, or has ended."""
    with sqlite3.connect(f"file:{live.data_dir}/outlast.db?mode=ro", uri=True) as database:
        now = {
            row[0]: (row[1], row[2])
            for row in database.execute("SELECT id, attempt, finished_at IS NOT NULL FROM runs")
        }
    return all(now[run_id][1] or now[run_id][0] > attempt for run_id, attempt in before.items())


def _alive(pids: list[int]) -> list[int]:
    return [pid for pid in pids if Path(f"/proc/{pid}").exists()]
