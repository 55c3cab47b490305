"""The asyncio client has the same verbs and says the same things as the blocking one."""

import inspect
from collections.abc import AsyncIterator

import pytest

from outlast.client import AsyncClient, Client, NotFound, RunFinished, Unreachable, WaitTimedOut
from tests.client.scripted import HANG_UP, Reply, ScriptedServer, answer, problem, vacant_url
from tests.client.test_requests import ACCEPTED, CANCEL, DELETE, RUN, STATUS, SUBMIT, status


@pytest.fixture
async def aio(server: ScriptedServer) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(server.url, retry_s=2, patience_s=5) as connected:
        yield connected


def test_both_clients_have_the_same_verbs_with_the_same_words() -> None:
    def verbs(kind: type) -> dict[str, tuple[list[str], str | None]]:
        return {
            name: (list(inspect.signature(verb).parameters), inspect.getdoc(verb))
            for name, verb in vars(kind).items()
            if inspect.isfunction(verb) and not name.startswith("_")
        }

    assert verbs(Client) == verbs(AsyncClient)
    assert "submit" in verbs(Client)


async def test_a_submit_whose_answer_is_lost_is_sent_again_under_the_same_key(
    server: ScriptedServer, aio: AsyncClient
) -> None:
    server.on(SUBMIT, HANG_UP, answer(ACCEPTED, 202))

    accepted = await aio.submit("x", framework="echo")

    assert accepted.job_id == RUN
    assert len({request.headers["idempotency-key"] for request in server.sent(SUBMIT)}) == 1


async def test_waiting_outlasts_a_server_that_restarts(server: ScriptedServer, aio: AsyncClient) -> None:
    server.on(STATUS, answer(status("running")), HANG_UP, answer(status("succeeded")))

    assert (await aio.wait(RUN)).status == "succeeded"


async def test_waiting_ends_when_the_time_is_up(server: ScriptedServer, aio: AsyncClient) -> None:
    server.on(STATUS, answer(status("running")))

    with pytest.raises(WaitTimedOut):
        await aio.wait(RUN, timeout_s=0.1)


async def test_a_large_result_is_fetched_from_where_it_is(server: ScriptedServer, aio: AsyncClient) -> None:
    server.on(f"{STATUS}/result", answer(status("succeeded", result_url="http://elsewhere/")))
    server.on(f"{STATUS}/result/raw", Reply(200, b'"large"'))

    assert (await aio.result(RUN)).result == "large"


async def test_cancel_and_delete_survive_a_lost_answer(server: ScriptedServer, aio: AsyncClient) -> None:
    server.on(CANCEL, HANG_UP, problem(400, "run_finished", "It was cancelled."))
    server.on(STATUS, answer(status("cancelled")))
    server.on(DELETE, HANG_UP, problem(404, "run_not_found", "Gone."))

    assert (await aio.cancel(RUN)).status == "cancelled"
    await aio.delete(RUN)


async def test_refusals_are_raised(server: ScriptedServer, aio: AsyncClient) -> None:
    server.on(CANCEL, problem(400, "run_finished", "It finished."))
    server.on(DELETE, problem(404, "run_not_found", "There is no run."))

    with pytest.raises(RunFinished):
        await aio.cancel(RUN)
    with pytest.raises(NotFound):
        await aio.delete(RUN)


async def test_runs_are_listed_by_page_and_one_after_the_other(
    server: ScriptedServer, aio: AsyncClient
) -> None:
    server.on(
        "GET /api/v1/runs",
        answer({"jobs": [status("queued")], "total": 2, "next_cursor": "c"}),
        answer({"jobs": [status("failed")], "total": 2}),
        answer({"jobs": [status("failed")], "total": 2}),
    )

    assert [run.status async for run in aio.iter_runs()] == ["queued", "failed"]
    assert (await aio.list_runs()).total == 2


async def test_nobody_at_home_is_unreachable() -> None:
    url = vacant_url()

    async with AsyncClient(url, retry_s=0.1) as aio:
        with pytest.raises(Unreachable):
            await aio.get(RUN)


async def test_a_finished_run_is_asked_for_again_and_its_calls_are_read(
    server: ScriptedServer, aio: AsyncClient
) -> None:
    server.on(f"POST /api/v1/runs/{RUN}/retry", HANG_UP, answer(ACCEPTED, 202, Idempotency_Replayed="true"))
    call = {"seq": 3, "attempt": 1, "at": ACCEPTED["created_at"], "how": "exact", "unheard_of": 1}
    server.on(f"GET /api/v1/runs/{RUN}/calls", answer({"calls": [call], "next_after": 3}))

    accepted = await aio.retry(RUN, fresh=True)
    page = await aio.calls(RUN, after=1, limit=1)

    keys = {request.headers["idempotency-key"] for request in server.sent(f"POST /api/v1/runs/{RUN}/retry")}
    assert (accepted.job_id, accepted.replayed, len(keys)) == (RUN, False, 1)
    assert [(one.seq, one.how) for one in page.calls] == [(3, "exact")]
    assert page.next_after == 3


async def test_steps_are_seen_and_answered(server: ScriptedServer, aio: AsyncClient) -> None:
    at = ACCEPTED["created_at"]
    pay = {"step": "a/b", "name": "pay", "effect": "once", "idempotency_key": "k", "started_at": at}
    unsure = {**pay, "state": "unsure"}
    page = {"steps": [unsure], "total": 1, "page": 1, "page_size": 100}
    server.on(f"{STATUS}/steps", answer(page))
    server.on(f"{STATUS}/steps/a%2Fb", answer({**pay, "state": "done", "result": [1]}))
    server.on(f"POST /api/v1/runs/{RUN}/steps/a%2Fb", HANG_UP, answer(status("queued")))

    (step,) = (await aio.steps(RUN)).steps
    run = await aio.answer_step(RUN, step.step, "skip", result=[1])

    assert (step.state, run.status) == ("unsure", "queued")
    assert (await aio.step(RUN, step.step)).result == [1]
