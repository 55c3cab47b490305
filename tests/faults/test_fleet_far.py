"""Clients of one server, a run that another took in, a worker that neither has started: all of it is in reach."""

import threading
import time
from collections.abc import Iterator

import msgspec
import pytest

from tests.faults.fleet import SLACK_S, Fleet, fleet
from tests.live import Live
from tests.postgres import Postgres

pytestmark = pytest.mark.slow

HEARD_S = 1.0
POLLED_S = 2.5
"""How long things may take to get about where nobody can ring: everybody looks once a second."""


@pytest.fixture(scope="module")
def silent(database: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """A fleet behind a pooler, so to say: no LISTEN."""
    with fleet(
        tmp_path_factory.mktemp("silent"), database, servers=2, workers=1, database_listen=False
    ) as ours:
        yield ours
        ours.mend()


@pytest.fixture(params=["listening", "polling"])
def far(request: pytest.FixtureRequest) -> Iterator[tuple[Fleet, float]]:
    """A fleet, and how soon it is known everywhere what happens."""
    if request.param == "listening":
        yield request.getfixturevalue("many"), HEARD_S
    else:
        yield request.getfixturevalue("silent"), POLLED_S


def test_a_cancel_reaches_the_agents_process_on_another_machine(far: tuple[Fleet, float]) -> None:
    many, within_s = far
    job_id, worker = many.running("stays", "Far away.")
    agents = worker.agents()
    assert agents

    asked_at = time.monotonic()
    answer = many.servers[1].http.post(f"/api/v1/runs/{job_id}/cancel")
    gone_at = many.until(lambda: not agents & worker.agents(), 10, "the agent to be gone")

    assert answer.status_code == 200
    assert gone_at - asked_at < within_s + SLACK_S
    assert many.ended(job_id)["status"] == "cancelled"


def test_a_stream_and_a_wait_at_another_server_follow_the_run(far: tuple[Fleet, float]) -> None:
    many, within_s = far
    job_id, _ = many.running("works", "1.5 s of work")
    waited = Waiting(many.servers[1], job_id)

    events, late_s = _followed(many, many.servers[1], job_id)

    assert [event["event"] for event in events[-1:]] == ["complete"]
    assert 5 < sum(event["event"] == "progress" for event in events) <= 15  # of two at a time the newer one
    assert sorted(late_s)[len(late_s) // 2] < within_s
    assert waited.status()["status"] == "succeeded"
    assert waited.took_s < 20


class Waiting:
    """A long poll in a thread."""

    def __init__(self, server: Live, job_id: str) -> None:
        self.took_s = 0.0
        self._path = f"{server.url}/api/v1/runs/{job_id}?wait=30"
        self._server = server
        self._answer: dict[str, object] = {}
        self._thread = threading.Thread(target=self._wait)
        self._thread.start()

    def status(self) -> dict[str, object]:
        self._thread.join(40)
        return self._answer

    def _wait(self) -> None:
        began = time.monotonic()
        self._answer = self._server.http.get(self._path).json()
        self.took_s = time.monotonic() - began


def _followed(many: Fleet, server: Live, job_id: str) -> tuple[list[dict[str, object]], list[float]]:
    """The run's events to the end of its stream, and how long each of those that came live was under way."""
    events: list[dict[str, object]] = []
    arrived_at: dict[int, float] = {}
    began = time.time()
    with server.http.stream("GET", f"/api/v1/runs/{job_id}/stream") as answer:
        for line in answer.iter_lines():
            if line.startswith("id: "):
                arrived_at[int(line[4:])] = time.time()
            if line.startswith("data: {"):
                events.append(msgspec.json.decode(line[6:], type=dict[str, object]))
    rows = many.fetch("SELECT seq, at FROM outlast.events WHERE run_id = $1 ORDER BY seq", job_id)
    assert [*arrived_at] == [row[0] for row in rows]
    return events, [arrived_at[row[0]] - row[1] / 1000 for row in rows if row[1] / 1000 > began]
