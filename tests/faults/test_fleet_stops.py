"""What stands still and comes back: a worker that has lost its runs meanwhile, a database, its connections."""

import signal
import time
from pathlib import Path

import pytest

from tests.faults.crowd import Crowd
from tests.faults.fleet import LEASE_S, SLACK_S, TAKEOVER_S, Fleet

pytestmark = pytest.mark.slow

DROPS = 20


def test_a_worker_that_comes_back_too_late_changes_nothing_and_calls_no_model(
    many: Fleet, tmp_path: Path
) -> None:
    notes = tmp_path / "notes"
    job_id, zombie = many.running("calls", str(notes))
    held = many.held_by(zombie, "Hold two.")
    many.until(notes.exists, 20, "a first answer")
    agents = zombie.agents()
    assert agents

    zombie.send(signal.SIGSTOP)
    stopped_at = time.monotonic()
    taken_at = many.until(lambda: many.attempt(job_id) == many.attempt(held) == 2, 20, "a second attempt")
    for run in (job_id, held):
        assert many.ended(run)["attempt"] == 2
    calls = len(many.calls(f"{notes} attempt 1"))
    before = notes.read_text().split()
    zombie.send(signal.SIGCONT)
    many.until(lambda: not agents & zombie.agents(), 10, "the zombie to stop its agent")

    assert taken_at - stopped_at < TAKEOVER_S + SLACK_S
    assert set(before) == {"200"}
    assert set(notes.read_text().split()[len(before) + 1 :]) <= {"403"}
    assert len(many.calls(f"{notes} attempt 1")) <= calls
    assert many.result(job_id) == "attempt 2"
    many.until_working()
    assert many.ended(many.submit("works", "0.1"))["status"] == "succeeded"


def test_an_agent_of_a_worker_that_stood_still_is_told_403(many: Fleet, tmp_path: Path) -> None:
    """With the database away the worker cannot be told anything: it knows by itself, and so does its gateway."""
    notes = tmp_path / "notes"
    job_id, zombie = many.running("calls", str(notes))
    agents = zombie.agents()
    assert agents
    many.until(notes.exists, 20, "a first answer")

    zombie.send(signal.SIGSTOP)
    many.until(lambda: many.attempt(job_id) == 2, 20, "a second attempt")
    many.database.pause()
    calls = len(many.calls(f"{notes} attempt 1"))
    zombie.send(signal.SIGCONT)
    many.until(lambda: not agents & zombie.agents(), 5, "the zombie to stop its agent")

    assert len(many.calls(f"{notes} attempt 1")) <= calls
    many.database.resume()
    assert many.ended(job_id)["attempt"] == 2


def test_agents_are_stopped_before_the_lease_ends_while_the_database_is_silent(many: Fleet) -> None:
    job_id, worker = many.running("stays", "three")
    before = [worker.pid for worker in many.workers]

    many.database.pause()
    paused_at = time.monotonic()
    gone_at = many.until(lambda: not worker.agents(), 10, "the agents to be stopped")
    time.sleep(max(0, paused_at + LEASE_S + 1 - time.monotonic()))  # longer than the lease
    many.database.resume()

    assert gone_at - paused_at < LEASE_S + SLACK_S / 3
    assert many.ended(job_id)["status"] == "succeeded"
    assert many.result(job_id) == "attempt 2"
    assert [worker.pid for worker in many.workers if worker.is_alive] == before


def test_dropped_connections_lose_nothing(many: Fleet) -> None:
    staying, _ = many.running("works", "3")
    with Crowd(many.servers, framework="echo") as crowd:
        crowd.has_accepted(20)
        dropped = 0
        for _ in range(DROPS):
            crowd.has_accepted(3)
            dropped += _drop_all(many)

    crowd.check(many)
    assert dropped > DROPS
    assert {said for said in crowd.answers if isinstance(said, int)} <= {202, 503}
    assert many.ended(staying)["status"] == "succeeded"
    assert many.attempt(staying) == 1


def _drop_all(many: Fleet) -> int:
    """End every connection to the database of ours; how many there were."""
    rows = many.fetch(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
        "AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
    )
    return len(rows)
