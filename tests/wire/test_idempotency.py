"""One key, one run, on a real server: under a crowd, over a kill of the whole tree, and until the run is deleted."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.live import Live
from tests.postgres import Postgres
from tests.wire.conftest import started

URL = "/api/v1/runs"
CROWD = 32
KEYS = 40


@pytest.fixture
def live(tmp_path_factory: pytest.TempPathFactory, keeper: Postgres | None) -> Iterator[Live]:
    """A server that may be killed."""
    with started(tmp_path_factory.mktemp("keys"), keeper, {}) as live:
        yield live


def submit(live: Live, key: str, prompt: str = "Task") -> httpx.Response:
    """A client of its own with one try, as a retrying caller is."""
    return httpx.post(
        f"{live.url}{URL}",
        json={"prompt": prompt, "framework": "echo"},
        headers={"Idempotency-Key": key},
        trust_env=False,
        verify=False,  # nothing is encrypted here, and certificates take long to load
        timeout=20,
    )


def test_a_crowd_with_one_key_and_body_gets_one_run(live: Live) -> None:
    with ThreadPoolExecutor(CROWD) as crowd:
        answers = list(crowd.map(lambda _: submit(live, "k"), range(CROWD)))

    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["job_id"] for answer in answers}) == 1
    assert sum("idempotency-replayed" not in answer.headers for answer in answers) == 1
    assert live.http.get(URL).json()["total"] == 1


def test_of_a_crowd_with_one_key_and_many_bodies_one_wins(live: Live) -> None:
    with ThreadPoolExecutor(CROWD) as crowd:
        answers = list(crowd.map(lambda n: submit(live, "k", f"Task {n}"), range(CROWD)))

    assert sorted(answer.status_code for answer in answers) == [202] + [409] * (CROWD - 1)
    assert len({answer.json()["job_id"] for answer in answers}) == 1
    assert live.http.get(URL).json()["total"] == 1


@pytest.mark.slow
def test_a_key_outlives_a_kill_in_the_middle_of_submits(live: Live) -> None:
    half = threading.Semaphore(0)

    def ask(n: int) -> str | None:
        try:
            answer = submit(live, f"key-{n}", f"Task {n}")
        except httpx.TransportError:
            return None
        finally:
            half.release()
        return str(answer.json()["job_id"])

    with ThreadPoolExecutor(8) as crowd:
        asking = crowd.map(ask, range(KEYS))
        for _ in range(KEYS // 2):
            half.acquire()
        live.kill_tree()
        told = list(asking)
    live.start()
    again = [submit(live, f"key-{n}", f"Task {n}") for n in range(KEYS)]
    other = [submit(live, f"key-{n}", "Another task") for n in range(KEYS)]

    assert sum(job_id is not None for job_id in told) >= KEYS // 2
    ids = [answer.json()["job_id"] for answer in again]
    for before, now, answer in zip(told, ids, again, strict=True):
        assert before is None or (before, "true") == (now, answer.headers.get("idempotency-replayed"))
    assert [(answer.status_code, answer.json()["job_id"]) for answer in other] == [(409, now) for now in ids]
    assert live.http.get(URL).json()["total"] == KEYS
    assert [live.wait_for_end(now)["status"] for now in ids] == ["succeeded"] * KEYS


@pytest.mark.slow
def test_delete_frees_a_key_for_good(live: Live) -> None:
    first = submit(live, "k").json()["job_id"]
    live.wait_for_end(first)
    assert live.http.delete(f"{URL}/{first}").status_code == 204
    live.kill_tree()
    live.start()

    second = submit(live, "k", "Another task")

    assert second.status_code == 202
    assert second.json()["job_id"] != first
    assert "idempotency-replayed" not in second.headers
