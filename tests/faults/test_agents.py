"""Agents that do not want to end, through a real server: they end, their model calls are cut, nobody else notices."""

import json
import sqlite3
import time
from collections.abc import Iterator

import pytest

from tests import invariants
from tests.faults.ward import PROMISED_S, QUICK, SLACK_S, STAYING, Ward, ward
from tests.live import wait_until

pytestmark = pytest.mark.slow

NEIGHBOUR = "the neighbour in the shared host"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ward]:
    """One server for all, with a run in the shared host that nothing may touch."""
    with ward(tmp_path_factory.mktemp("ward"), memory_limit_mb=256, grace_s=1) as place:
        neighbour = place.calling(None, NEIGHBOUR)
        yield place
        assert place.live.status(neighbour)["attempt"] == 1
        assert len(place.calls(NEIGHBOUR)) == 1
        place.provider.release()
        assert place.live.wait_for_end(neighbour)["status"] == "succeeded"
        assert place.live.terminate() == 0
        assert place.left() == set()
    invariants.check(place.live.data_dir / "outlast.db")


@pytest.mark.parametrize(("agent", "callers"), STAYING)
def test_a_cancelled_agent_is_gone_and_calls_no_model(shared: Ward, agent: str | None, callers: int) -> None:
    prompt = f"cancelled while it {agent}"
    job_id = shared.calling(agent, prompt, callers)

    asked_at = shared.cancel(job_id)

    calls = len(shared.calls(prompt))
    cut_s = shared.cut(prompt) - asked_at
    gone_s = shared.gone() - asked_at
    print(f"{agent}: call cut after {cut_s:.3f} s, processes gone after {gone_s:.3f} s")  # noqa: T201
    assert shared.live.status(job_id)["status"] == "cancelled"
    assert max(cut_s, gone_s) < PROMISED_S + SLACK_S
    assert len(shared.calls(prompt)) == calls


def test_timed_out_agents_are_gone_and_call_no_model(shared: Ward) -> None:
    prompts = {agent: f"out of time while it {agent}" for agent, _ in QUICK}
    ids = [shared.submit(agent, prompt, timeout=8) for agent, prompt in prompts.items()]
    wait_until(
        lambda: all(len(shared.calls(prompts[agent])) >= callers for agent, callers in QUICK),
        7,
        lambda: "all to call",
    )

    runs = [shared.live.wait_for_end(job_id) for job_id in ids]

    ended_at = time.monotonic()
    calls = len(shared.provider.asked)
    cut_s = max(shared.cut(prompt) for prompt in prompts.values()) - ended_at
    gone_s = shared.gone() - ended_at
    print(f"all timed out: calls cut after {cut_s:.3f} s, processes gone after {gone_s:.3f} s")  # noqa: T201
    assert {(run["status"], run["error_code"]) for run in runs} == {("failed", "timeout")}
    assert max(cut_s, gone_s) < PROMISED_S + SLACK_S
    assert len(shared.provider.asked) == calls


@pytest.mark.parametrize(
    ("agent", "code"),
    [("exits", "agent_exited"), ("eats", "out_of_memory")],
)
def test_an_agent_that_ends_itself_leaves_nothing(shared: Ward, agent: str, code: str) -> None:
    prompt = f"ended because it {agent}"
    job_id = shared.submit(agent, prompt)

    run = shared.live.wait_for_end(job_id)

    shared.gone()
    shared.cut(prompt)
    calls = len(shared.calls(prompt))
    assert (run["status"], run["error_code"]) == ("failed", code)
    assert run["attempt"] == 1
    assert len(shared.calls(prompt)) == calls > 0


def test_agents_that_print_for_ever_do_not_fill_the_disk(shared: Ward) -> None:
    before = _size(shared)
    ids = [shared.calling(agent, f"told a lot by one that {agent}") for agent in ("prints", "logs")]
    wait_until(lambda: all(_kept(shared, job_id)[1] > 0 for job_id in ids), 20, lambda: "lines to be dropped")

    for job_id in ids:
        shared.cancel(job_id)
    shared.gone()

    seconds = [_lived_s(shared, job_id) for job_id in ids]
    kept = [_kept(shared, job_id)[0] for job_id in ids]
    assert all(lines < 200 * (s + 2) for lines, s in zip(kept, seconds, strict=True))
    assert _size(shared) - before < 20_000 * 200 * (sum(seconds) + 4)


def _size(place: Ward) -> int:
    return sum(file.stat().st_size for file in place.live.data_dir.rglob("*") if file.is_file())


def _kept(place: Ward, job_id: str) -> tuple[int, int]:
    """How many log events the run has, and how many of them tell of dropped lines."""
    with sqlite3.connect(f"file:{place.live.data_dir}/outlast.db?mode=ro", uri=True) as database:
        rows = database.execute(
            "SELECT data FROM events WHERE run_id = ? AND kind = 'log'", (job_id,)
        ).fetchall()
    messages = [json.loads(row[0])["message"] for row in rows]
    return len(messages), len([message for message in messages if "lines dropped" in message])


def _lived_s(place: Ward, job_id: str) -> float:
    with sqlite3.connect(f"file:{place.live.data_dir}/outlast.db?mode=ro", uri=True) as database:
        row = database.execute("SELECT executed_ms FROM runs WHERE id = ?", (job_id,)).fetchone()
    return float(row[0]) / 1000
