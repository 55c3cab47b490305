"""Shared hosts: many runs in one process, none of which may harm another for good."""

import os
import signal

import pytest

from outlast.lifecycle import MAX_LOST
from outlast.runs import Isolation, RunState
from tests.live import processes_with
from tests.worker.conftest import ME, Bench, no_file_to_spare, until

SHARED = Isolation.SHARED


async def test_many_runs_share_a_host(bench: Bench) -> None:
    ids = [await bench.shared("echo", f"number {n}") for n in range(300)]

    runs = [await bench.ended(run_id) for run_id in ids]

    assert {run.state for run in runs} == {RunState.SUCCEEDED}
    assert (await bench.engine.result(ME, ids[7]))[1] == b'"number 7"'
    await bench.idle()


async def test_what_fails_in_a_host_fails_alone(bench: Bench) -> None:
    neighbour = await bench.ready("sleeper", kind=SHARED)

    codes = []
    for agent in ("fails", "fails_by_name", "exits"):
        run = await bench.ended(await bench.shared(agent))
        assert run.error is not None
        codes.append(run.error.code)

    assert codes == ["agent_error", "no_moon", "agent_exited"]
    assert (await bench.run(neighbour)).attempt == 1


async def test_a_cancelled_run_leaves_its_host_to_the_others(bench: Bench) -> None:
    neighbour = await bench.ready("sleeper", kind=SHARED)
    run_id = await bench.ready("sleeper", kind=SHARED)

    await bench.engine.cancel(ME, run_id)
    await until(lambda: len(bench.worker.attempts) == 1, 2, "the cancelled attempt to be gone")

    assert (await bench.run(neighbour)).attempt == 1
    assert (await bench.run(neighbour)).state is RunState.RUNNING


async def test_a_run_that_does_not_obey_costs_its_neighbour_time_and_nothing_else(bench: Bench) -> None:
    neighbour = await bench.ready("sleeper", kind=SHARED)
    run_id = await bench.ready("stubborn", kind=SHARED)

    await bench.engine.cancel(ME, run_id)
    await until(lambda: not _is_attempt(bench, run_id), 2, "its end")

    await until(lambda: _attempts(bench, neighbour) == 2, 10, "the neighbour's second attempt")
    run = await bench.run(neighbour)
    assert (run.state, run.lost, run.solo) == (RunState.RUNNING, 0, True)
    assert await bench.result("echo", kind=SHARED) == "Hello"


async def test_a_host_whose_loop_is_blocked_is_killed_and_its_runs_go_on_alone(bench: Bench) -> None:
    neighbour = await bench.ready("sleeper", kind=SHARED)
    blocker = await bench.ready("blocker", kind=SHARED)

    await until(lambda: _attempts(bench, neighbour) == 2, 15, "the neighbour's second attempt")

    for run_id in (neighbour, blocker):
        run = await bench.run(run_id)
        assert (run.lost, run.solo) == (0, True)
    await bench.engine.cancel(ME, blocker)
    await bench.engine.cancel(ME, neighbour)
    await bench.idle(3)


async def test_a_run_that_kills_every_host_is_given_up_and_its_neighbour_is_not(bench: Bench) -> None:
    neighbour = await bench.ready("sleeper", kind=SHARED)

    run = await bench.ended(await bench.shared("dies"))

    assert run.error is not None
    assert (run.error.code, run.lost) == ("worker_lost", MAX_LOST)
    await until(lambda: _attempts(bench, neighbour) == 2, 5, "the neighbour's second attempt")
    neighbours = await bench.run(neighbour)
    assert (neighbours.state, neighbours.lost) == (RunState.RUNNING, 0)


async def test_a_killed_host_is_replaced(bench: Bench) -> None:
    assert await bench.result("echo", kind=SHARED) == "Hello"
    (host,) = processes_with(f"{bench.worker.folder}:host")

    os.kill(host, signal.SIGKILL)

    assert await bench.result("echo", kind=SHARED) == "Hello"
    assert processes_with(f"{bench.worker.folder}:host") != [host]


async def test_a_host_that_cannot_be_started_is_tried_again(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    await bench.warm()
    assert await bench.result("echo", kind=SHARED) == "Hello"
    (host,) = processes_with(f"{bench.worker.folder}:host")

    with no_file_to_spare():
        os.kill(host, signal.SIGKILL)
        await until(lambda: "host could not be started" in caplog.text, 5, "a start that fails")

    assert await bench.result("echo", kind=SHARED) == "Hello"


def _is_attempt(bench: Bench, run_id: str) -> bool:
    return any(attempt.run.id == run_id for attempt in bench.worker.attempts.values())


def _attempts(bench: Bench, run_id: str) -> int:
    return max((a.run.attempt for a in bench.worker.attempts.values() if a.run.id == run_id), default=0)
