"""Work that goes on as it should beside work that does not: long runs, poison, workers that are exchanged."""

import pytest

from tests.faults.crowd import Crowd
from tests.faults.fleet import LEASE_S, Fleet

pytestmark = pytest.mark.slow

LONG_S = 8
NEIGHBOURS = 6
LOST_MAX = 3


def test_poison_ends_after_its_bound_and_a_run_longer_than_its_lease_starts_once(many: Fleet) -> None:
    healthy = many.submit("works", f"{LONG_S} s, longer than the lease of {LEASE_S:g}")
    poison = many.submit("dies", "Die.")
    neighbours = [many.submit("works" if n % 2 else None, f"1 s, number {n}") for n in range(NEIGHBOURS)]

    failed = many.ended(poison)
    done = [many.ended(job_id) for job_id in (healthy, *neighbours)]

    assert (failed["status"], failed["attempt"]) == ("failed", LOST_MAX)
    assert _error_code(many, poison) == "worker_lost"
    assert {(status["status"], status["attempt"]) for status in done} == {("succeeded", 1)}
    assert _ends(many, [healthy, *neighbours]) == {"succeeded"}


def test_all_workers_are_exchanged_one_after_another_and_nothing_is_lost_or_counted(many: Fleet) -> None:
    with Crowd(many.servers, framework="echo") as crowd:
        long = [many.submit("works", f"3 s, number {n}") for n in range(NEIGHBOURS)]
        crowd.has_accepted(20)
        codes = []
        for worker in many.workers:
            codes.append(worker.terminate())
            worker.start()
            many.until_working()
        crowd.has_accepted(20)

    assert codes == [0] * len(many.workers)
    crowd.check(many)
    assert {many.ended(job_id)["status"] for job_id in long} == {"succeeded"}
    assert _ends(many, [*long, *crowd.accepted.values()]) == {"handed_back", "succeeded"}
    assert set(crowd.answers) == {202}


def _ends(many: Fleet, job_ids: list[str]) -> set[str]:
    """How their attempts have ended."""
    rows = many.fetch('SELECT DISTINCT "end" FROM outlast.attempts WHERE run_id = ANY($1)', job_ids)
    return {str(row[0]) for row in rows}


def _error_code(many: Fleet, job_id: str) -> str:
    return str(many.fetch("SELECT error_code FROM outlast.runs WHERE id = $1", job_id)[0][0])
