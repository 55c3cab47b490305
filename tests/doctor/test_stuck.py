"""What the doctor says of a store on which something waits for nobody."""

import pytest

from outlast.clock import FakeClock
from outlast.engine import Engine
from outlast.runs import Isolation
from outlast.workers import WorkerCard
from tests.doctor.conftest import Examined, wrongs
from tests.runs_factory import ME, WORKER, new_run, running, submit
from tests.store.conftest import Either

ECHO = WorkerCard(name="w", host="here", runners=("echo",), shared=5, isolated=1)


async def test_a_store_in_use_is_sound(engine: Engine, examined: Examined) -> None:
    await engine.sessions.limit(ME, "s", 1)
    run, attempt_id = await running(engine)
    for _ in range(5):
        await submit(engine, new_run(session_id="s"))
    await engine.succeed(run, attempt_id, b'"done"')
    await engine.beat(WORKER, 30, ECHO)

    found = await examined()

    assert wrongs(found) == []
    assert [finding.about for finding in found if finding.about in ("promise", "stuck", "schema")] == [
        "schema",
        "promise",
        "stuck",
    ]


async def test_a_run_without_any_worker_waits_for_one(engine: Engine, examined: Examined) -> None:
    await submit(engine)

    (finding,) = [finding for finding in await examined() if finding.about == "stuck"]

    assert finding.says.startswith("1 run of runner echo (shared) in queue default wait for a worker")
    assert "outlast serve" in finding.remedy


@pytest.mark.parametrize(
    "card",
    [
        WorkerCard(runners=("builtin",), shared=5),
        WorkerCard(runners=("echo",), shared=5, queues=("night",)),
        WorkerCard(runners=("echo",), shared=0),
        WorkerCard(runners=("echo",), shared=5, is_draining=True),
    ],
    ids=["runner", "queue", "places", "draining"],
)
async def test_a_run_that_no_worker_would_take_waits_in_vain(
    engine: Engine, examined: Examined, card: WorkerCard
) -> None:
    await submit(engine)
    await engine.beat(WORKER, 30, card)

    assert [about for about, _ in wrongs(await examined())] == ["stuck"]


async def test_a_run_whose_worker_is_gone_and_that_nobody_took_back(
    engine: Engine, examined: Examined, clock: FakeClock
) -> None:
    await engine.beat(WORKER, 30, ECHO)
    run, _ = await running(engine)
    clock.advance(45)

    ((about, says),) = wrongs(await examined())

    assert about == "stuck"
    assert says.startswith(f"Run {run.id} is held by worker {WORKER}")
    await engine.recover()
    assert [says for _, says in wrongs(await examined()) if "held by" in says] == []


async def test_a_notice_that_nobody_delivers(engine: Engine, examined: Examined, clock: FakeClock) -> None:
    run, attempt_id = await running(engine, new_run(webhook_url="https://a.example/hook"))
    await engine.succeed(run, attempt_id, b'"done"')
    assert wrongs(await examined()) == []
    clock.advance(360)

    assert wrongs(await examined()) == [
        ("stuck", "1 webhook notices for a.example are overdue, the first since 6 min.")
    ]


async def test_a_clock_that_is_off(engine: Engine, examined: Examined, clock: FakeClock) -> None:
    await engine.beat(WORKER, 30, WorkerCard(name="w", host="h", at=clock.now() + 90_000, lease_ms=30_000))

    (finding,) = [finding for finding in await examined() if finding.about == "clock"]

    assert finding.says == "The clock of worker w on h is 90.0 s ahead of the store's."


async def test_isolated_runs_are_asked_for_places_of_their_own(engine: Engine, examined: Examined) -> None:
    await engine.beat(WORKER, 30, ECHO)
    await submit(engine, new_run(kind=Isolation.ISOLATED))

    assert wrongs(await examined()) == []


async def test_a_broken_promise_is_named_with_what_breaks_it(
    engine: Engine, examined: Examined, either: Either
) -> None:
    run, attempt_id = await running(engine)
    done = await engine.succeed(run, attempt_id, b'"done"')
    await engine.beat(WORKER, 30, ECHO)
    await either.execute(f"UPDATE events SET seq = seq + 1 WHERE run_id = '{run.id}' AND kind = 'complete'")

    broken = wrongs(await examined())

    assert len(broken) == 2
    assert all(about == "promise" and run.id in says for about, says in broken)
    assert any("event numbers are gapless" in says for _, says in broken)
    await either.execute(
        f"UPDATE events SET seq = {done.seq} WHERE run_id = '{run.id}' AND kind = 'complete'"
    )


async def test_a_large_store_is_looked_at_in_part_and_says_so(engine: Engine, examined: Examined) -> None:
    await engine.beat(WORKER, 30, ECHO)
    for _ in range(12):
        await submit(engine)

    (promise,) = [finding for finding in await examined() if finding.about == "promise"]

    assert "on the newest 10 of 12 runs" in promise.says
