"""Workers over HTTP: who lives, and what each runs."""

from outlast.engine import Engine
from outlast.runs import Caller, Isolation
from outlast.workers import WorkerCard
from tests.api.conftest import Served
from tests.api.driver import WORKER, Driver
from tests.runs_factory import new_run

URL = "/api/v1/workers"
CARD = WorkerCard(
    name="big", host="here", pid=7, version="1", runners=("echo",), queues=("night",), shared=5, isolated=2
)


async def test_a_worker_is_shown_with_its_card_its_places_and_its_runs(
    served: Served, engine: Engine, driver: Driver
) -> None:
    job_id = await served.submit()
    await driver.claim()
    await engine.beat(WORKER, 30, CARD)

    (shown,) = (await served.http.get(URL)).json()["workers"]

    assert shown.pop("lease_until") > shown.pop("started_at")
    assert shown == {
        "worker_id": WORKER,
        "name": "big",
        "host": "here",
        "pid": 7,
        "version": "1",
        "state": "live",
        "runners": ["echo"],
        "queues": ["night"],
        "has_model": False,
        "shared": {"total": 5, "taken": 1},
        "isolated": {"total": 2, "taken": 0},
        "running": 1,
        "job_ids": [job_id],
    }


async def test_runs_of_another_tenant_are_counted_but_not_named(
    served: Served, engine: Engine, driver: Driver
) -> None:
    await engine.submit(Caller("another"), new_run(kind=Isolation.ISOLATED))
    await driver.claim()

    (shown,) = (await served.http.get(URL)).json()["workers"]

    assert (shown["isolated"]["taken"], shown["running"], shown["job_ids"]) == (1, 0, [])


async def test_a_worker_that_drains_or_was_lost_is_said_so(served: Served, engine: Engine) -> None:
    await engine.beat("w1", 0.001, CARD)
    await engine.beat("w2", 30, WorkerCard(is_draining=True))
    while not await _is_lost(served):
        await engine.recover()

    lost, draining = (await served.http.get(URL)).json()["workers"]

    assert (lost["state"], draining["state"]) == ("lost", "draining")
    assert lost["lost_at"] >= lost["lease_until"]


async def _is_lost(served: Served) -> bool:
    return "lost_at" in (await served.http.get(URL)).json()["workers"][0]
