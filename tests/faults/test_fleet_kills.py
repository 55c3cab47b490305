"""`kill -9` of one process among many: a worker, a server, an agent, the database. Nothing accepted is lost."""

import os
import signal
import time

import pytest

from tests.faults.crowd import Crowd
from tests.faults.fleet import SLACK_S, TAKEOVER_S, Fleet, get

pytestmark = pytest.mark.slow


def test_a_killed_workers_runs_start_elsewhere_soon_after_its_lease(many: Fleet) -> None:
    isolated, worker = many.running("stays", "one")
    shared = many.held_by(worker, "Hold one.")

    killed_at = worker.kill()
    taken_at = many.until(
        lambda: many.attempt(isolated) == many.attempt(shared) == 2, 20, "both runs to start again"
    )

    assert taken_at - killed_at < TAKEOVER_S + SLACK_S
    assert many.ended(isolated)["status"] == many.ended(shared)["status"] == "succeeded"
    assert many.result(isolated) == "attempt 2"
    assert worker.agents() == set()


def test_a_server_killed_among_submits_takes_nothing_with_it(many: Fleet) -> None:
    with Crowd(many.servers, framework="echo") as crowd:
        crowd.has_accepted(40)
        many.servers[0].kill()
        crowd.has_accepted(40)
        many.servers[0].start()
        crowd.has_accepted(20)

    crowd.check(many)
    assert {said for said in crowd.answers if isinstance(said, int)} == {202}


def test_a_killed_agent_process_goes_on_at_once(many: Fleet) -> None:
    job_id, worker = many.running("stays", "two")

    agents = worker.agents()
    for agent in agents:
        os.kill(agent, signal.SIGKILL)

    assert agents
    assert many.ended(job_id)["attempt"] == 2
    assert many.result(job_id) == "attempt 2"


def test_a_killed_database_is_missed_and_comes_back_to_all_that_was_accepted(many: Fleet) -> None:
    staying, _ = many.running("works", "8")
    with Crowd(many.servers, framework="echo") as crowd:
        crowd.has_accepted(50)
        many.database.kill()
        for server in many.servers:
            many.until(lambda s=server: _says_503(many, staying), 5, "503 with Retry-After")  # type: ignore[misc]
        began = time.monotonic()
        answer = many.servers[0].http.post("/api/v1/runs", json={"prompt": "x", "framework": "echo"})
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert time.monotonic() - began < 5
        many.database.start()
        crowd.has_accepted(50)

    crowd.check(many)
    assert {said for said in crowd.answers if isinstance(said, int)} <= {202, 503}
    assert all(server.is_alive for server in many.servers)
    assert all(worker.is_alive for worker in many.workers)
    assert many.ended(staying, 60)["status"] == "succeeded"


def _says_503(many: Fleet, job_id: str) -> bool:
    answers = [get(server, f"/api/v1/runs/{job_id}") for server in many.servers]
    assert all(answer is not None and answer.status_code in (200, 503) for answer in answers)
    return all(answer is not None and answer.headers.get("retry-after") for answer in answers)
