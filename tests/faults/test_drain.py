"""SIGTERM: what can end in time ends, the rest is handed back unharmed, and nothing stays behind."""

import sqlite3
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from outlast.client import Event
from outlast.client.sse import Reader
from tests import invariants
from tests.faults.ward import PROMISED_S, SLACK_S, STAYING, ward
from tests.live import UVICORN, Live, wait_until

pytestmark = pytest.mark.slow

GRACE_S = 3
UNBOUNDED_S = 60
"""A grace, or a rest, that no test waits for."""
ENTER_S = 60


def test_a_drain_lets_runs_end_hands_the_rest_back_and_ends_streams(tmp_path: Path) -> None:
    with ward(tmp_path, grace_s=GRACE_S) as place:
        short = place.submit("rests", "1")
        long = place.submit("rests", str(UNBOUNDED_S))
        with _reading(place.live, [short, long]) as (of_short, of_long):
            code = place.live.terminate()

            assert code == 0
            assert of_short.result(5)[-1].event == "complete"
            seen = of_long.result(5)
            assert seen[-1].event != "complete"
        assert place.left() == set()
        heads = _heads(place.live)
        assert heads[short] == ("succeeded", 1, 0)
        assert heads[long] == ("queued", 1, 0)

        place.live.start()
        more = _read(place.live, long, after=seen[-1].id or 0)

        assert [event.id for event in [*seen, *more]] == list(range(1, len(seen) + len(more) + 1))
        assert more[-1].data["result"] == "rested in attempt 2"
    invariants.check(place.live.data_dir / "outlast.db")


def test_rude_agents_are_handed_back_by_a_drain_and_leave_nothing(tmp_path: Path) -> None:
    with ward(tmp_path, grace_s=1) as place:
        prompts = {agent: f"shut down while it {agent}" for agent, _ in STAYING}
        ids = [place.submit(agent, prompt) for agent, prompt in prompts.items()]
        wait_until(
            lambda: all(len(place.calls(prompts[agent])) >= callers for agent, callers in STAYING),
            ENTER_S,
            lambda: "all to call",
        )

        asked_at = time.monotonic()
        code = place.live.terminate()

        ended_s = time.monotonic() - asked_at
        calls = len(place.provider.asked)
        left = place.left()
        cut_s = max(place.cut(prompt) for prompt in prompts.values()) - asked_at
        print(f"drain with 1 s of grace: calls cut after {cut_s:.3f} s, ended after {ended_s:.3f} s")  # noqa: T201
        assert (code, left) == (0, set())
        assert cut_s < 1 + PROMISED_S + SLACK_S
        heads = _heads(place.live)
        assert {heads[job_id] for job_id in ids} == {("queued", 1, 0)}

        place.live.start()
        wait_until(
            lambda: {_heads(place.live)[job_id] for job_id in ids} == {("running", 2, 0)},
            ENTER_S,
            lambda: f"{_heads(place.live)} to run again",
        )
        assert len(place.provider.asked) >= calls
        for job_id in ids:
            place.cancel(job_id)
        place.gone()
        assert place.live.terminate() == 0
    invariants.check(place.live.data_dir / "outlast.db")


def test_a_second_signal_cuts_the_grace_short(tmp_path: Path) -> None:
    with ward(tmp_path, grace_s=UNBOUNDED_S) as place:
        job_id = place.submit("rests", str(UNBOUNDED_S))
        wait_until(lambda: place.live.status(job_id)["status"] == "running", 10, lambda: "it to run")
        place.live.signal()
        wait_until(lambda: not place.live.ready(), 10, lambda: "the drain")

        code = place.live.terminate()

        assert (code, place.left()) == (0, set())
        assert _heads(place.live)[job_id] == ("queued", 1, 0)
    invariants.check(place.live.data_dir / "outlast.db")


def test_a_server_that_still_starts_its_helpers_ends_as_well(tmp_path: Path) -> None:
    with ward(tmp_path, grace_s=0) as place:
        asked_at = time.monotonic()
        code = place.live.terminate()

        print(f"ended {time.monotonic() - asked_at:.3f} s after it was ready")  # noqa: T201
        assert (code, place.left()) == (0, set())


def test_uvicorn_drains_it_as_well(tmp_path: Path) -> None:
    with ward(tmp_path, command=UVICORN, grace_s=GRACE_S) as place:
        short = place.submit("rests", "1")
        long = place.submit("rests", str(UNBOUNDED_S))
        with _reading(place.live, [short, long]) as (of_short, of_long):
            place.live.terminate()

            assert of_short.result(5)[-1].event == "complete"
            assert of_long.result(5)[-1].event != "complete"
        assert place.left() == set()
        assert _heads(place.live)[short] == ("succeeded", 1, 0)
        assert _heads(place.live)[long] == ("queued", 1, 0)


@contextmanager
def _reading(live: Live, ids: Sequence[str]) -> Iterator[list[Future[list[Event]]]]:
    """A stream of each run, read in a thread until the server ends it; entered when all of them print."""
    with ThreadPoolExecutor(len(ids)) as pool:
        for job_id in ids:
            wait_until(lambda: _log_lines(live, job_id) > 0, ENTER_S, lambda: "it to print")  # noqa: B023
        streams = [pool.submit(_read, live, job_id) for job_id in ids]
        wait_until(
            lambda: live.http.get("/stats").json()["open_streams"] == len(ids), ENTER_S, lambda: "streams"
        )
        yield streams


def _read(live: Live, job_id: str, after: int = 0) -> list[Event]:
    """The run's events until the stream ends; an error if it does not end well."""
    reader = Reader(after)
    with httpx.stream(
        "GET",
        f"{live.url}/api/v1/runs/{job_id}/stream",
        headers={"Last-Event-ID": str(after)} if after else {},
        timeout=ENTER_S,
        trust_env=False,
    ) as answer:
        assert answer.status_code == 200
        return [event for chunk in answer.iter_raw() for event in reader.feed(chunk)]


def _heads(live: Live) -> dict[str, tuple[str, int, int]]:
    """State, attempts and counted losses of every run."""
    with sqlite3.connect(f"file:{live.data_dir}/outlast.db?mode=ro", uri=True) as database:
        rows = database.execute("SELECT id, state, attempt, lost FROM runs").fetchall()
    return {row[0]: row[1:] for row in rows}


def _log_lines(live: Live, job_id: str) -> int:
    with sqlite3.connect(f"file:{live.data_dir}/outlast.db?mode=ro", uri=True) as database:
        row = database.execute("SELECT count(*) FROM events WHERE run_id = ? AND kind = 'log'", (job_id,))
        return int(row.fetchone()[0])
