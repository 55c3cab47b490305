"""The written contract says what the server does: no more and no less. (Every other test here checks the "no less".)"""

import asyncio
import re
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import httpx
import msgspec
import pytest

import outlast.api
from outlast.api import schemas
from outlast.api.body import Limits
from outlast.api.budget_routes import BudgetBody
from outlast.api.contract import Parameter, PathItem, contract
from outlast.api.journal_routes import AgainBody, CallListView, CallView
from outlast.api.routes import ROUTES
from outlast.api.step_routes import AnswerBody, StepListView, StepView
from outlast.runs import Allowed, EventKind, RunStatus, Spent
from tests.api import documented
from tests.api.conftest import Serve, Served
from tests.api.driver import Driver

URL = "/api/v1/runs"
BATCH = f"{URL}/batch"
SCHEDULES = "/api/v1/schedules"
SESSIONS = "/api/v1/sessions"
SCHEDULE = {"name": "n", "cron": "* * * * *", "run": {"prompt": "Hello"}}
SOURCE = Path(outlast.api.__file__).parent
WRITTEN: dict[str, type[msgspec.Struct]] = {
    "Submit": schemas.SubmitBody,
    "Retry": schemas.RetryBody,
    "BudgetBody": BudgetBody,
    "Budget": Allowed,
    "Again": AgainBody,
    "StepAnswer": AnswerBody,
    "Step": StepView,
    "StepList": StepListView,
    "Call": CallView,
    "CallList": CallListView,
    "Batch": schemas.BatchBody,
    "ScheduleBody": schemas.ScheduleBody,
    "SchedulePatch": schemas.SchedulePatch,
    "Schedule": schemas.ScheduleView,
    "ScheduleList": schemas.ScheduleListView,
    "Accepted": schemas.Accepted,
    "Status": schemas.StatusView,
    "Progress": schemas.ProgressView,
    "Usage": Spent,
    "List": schemas.ListView,
    "Result": schemas.ResultView,
    "Cancelled": schemas.Cancelled,
    "SessionSettings": schemas.SessionBody,
    "Session": schemas.SessionView,
    "SessionList": schemas.SessionListView,
    "Places": schemas.PlacesView,
    "Worker": schemas.WorkerView,
    "WorkerList": schemas.WorkerListView,
    "Health": schemas.Health,
    "Stats": schemas.Stats,
}


def test_paths_and_methods_are_those_of_the_routes() -> None:
    written = {path: set(item.operations) for path, item in contract().paths.items()}

    assert written == {route.path: set(route.methods) for route in ROUTES}


@pytest.mark.parametrize("name", WRITTEN)
def test_fields_are_those_of_the_structs(name: str) -> None:
    schema = contract().components.schemas[name]
    struct = WRITTEN[name]

    required = {field.encode_name for field in msgspec.structs.fields(struct) if field.required}
    assert set(schema.properties) == set(struct.__struct_encode_fields__)
    assert set(schema.required) == required


def test_closed_sets_are_those_of_the_code() -> None:
    written = contract().components.schemas

    assert list(written["RunStatus"].enum) == [status.value for status in RunStatus]
    kinds = [kind.value for kind in EventKind]
    assert sorted(map(str, written["Event"].properties["event"].enum)) == sorted([*kinds, "token"])


def test_every_field_and_answer_has_a_description() -> None:
    written = contract()
    for name, schema in written.components.schemas.items():
        for field, value in schema.properties.items():
            assert value.description or written.schema(value).description, f"{name}.{field}"
    for item in written.paths.values():
        for operation in item.operations.values():
            assert all(written.response(at).description for at in operation.responses.values())


def test_query_parameters_and_headers_are_those_that_the_code_reads() -> None:
    source = "\n".join(path.read_text() for path in SOURCE.glob("*.py"))
    queries = set(re.findall(r'(?:query\.get|flag|_number|_name)\((?:query, )?"(\w+)"', source))
    headers = set(re.findall(r'\.header\(b"([\w-]+)"\)', source))
    parameters = [contract().parameter(at) for item in contract().paths.values() for at in _parameters(item)]

    of_http = {"host", "content-type", "content-length", "content-encoding", "expect"}
    assert queries == {at.name for at in parameters if at.place == "query"}
    assert headers - of_http == {at.name.lower() for at in parameters if at.place == "header"}


def _parameters(item: PathItem) -> list[Parameter]:
    return [*item.parameters, *(at for operation in item.operations.values() for at in operation.parameters)]


async def test_openapi_json_is_the_contract(served: Served) -> None:
    served_one = (await served.http.get("/openapi.json")).json()

    assert served_one["openapi"].startswith("3.1")
    assert set(served_one["paths"]) == set(contract().paths)


Provoke = Callable[[Served, Driver], Awaitable[httpx.Response]]
Answers = dict[tuple[str, str], Provoke]


def _simple(method: str, path: str, *, ended: bool = False, **how: object) -> Provoke:
    """A request about a fresh run, or about one that has succeeded."""

    async def provoke(served: Served, driver: Driver) -> httpx.Response:
        job_id = await served.submit()
        if ended:
            await driver.succeed("done")
        request = served.http.build_request(method, path.replace("{id}", job_id), **how)  # type: ignore[arg-type]
        return await served.http.send(request)

    return provoke


def _of_schedule(method: str, tail: str = "", *, drained: bool = False, **how: object) -> Provoke:
    """A request about a fresh schedule."""

    async def provoke(served: Served, driver: Driver) -> httpx.Response:
        made = await served.http.post(SCHEDULES, json=SCHEDULE)
        if drained:
            served.drain()
        path = f"{SCHEDULES}/{made.json()['schedule_id']}{tail}"
        return await served.http.send(served.http.build_request(method, path, **how))  # type: ignore[arg-type]

    return provoke


async def _trigger_conflict(served: Served, driver: Driver) -> httpx.Response:
    headers = {"Idempotency-Key": "k"}
    await served.http.post(URL, json={"prompt": "Another"}, headers=headers)
    return await _of_schedule("POST", "/trigger", headers=headers)(served, driver)


async def _retry_conflict(served: Served, driver: Driver) -> httpx.Response:
    headers = {"Idempotency-Key": "k"}
    await served.http.post(URL, json={"prompt": "Another"}, headers=headers)
    return await served.http.post(f"{URL}/run_x/retry", headers=headers)


async def _of_step(
    method: str, served: Served, driver: Driver, *, is_unsure: bool = True, **how: object
) -> httpx.Response:
    """A request about a step over which an attempt has died."""
    job_id = await served.submit()
    await driver.unsure("pay", is_unsure=is_unsure)
    request = served.http.build_request(method, f"{URL}/{job_id}/steps/pay", **how)  # type: ignore[arg-type]
    return await served.http.send(request)


async def _in_session(served: Served, driver: Driver) -> httpx.Response:
    await served.submit(session_id="s")
    return await served.http.get(f"{SESSIONS}/s")


async def _slow(served: Served, driver: Driver, path: str = URL, method: str = "POST") -> httpx.Response:
    """Half a body, over a bare connection: a client library would go on writing and miss the answer."""
    request = served.http.build_request(method, path, content=b"{", headers=JSON | {"content-length": "9"})
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    head = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
    writer.write(f"{method} {path} HTTP/1.1\r\n{head}\r\n{{".encode())
    first, _, rest = (await reader.read()).partition(b"\r\n")
    fields, _, body = rest.partition(b"\r\n\r\n")
    writer.close()
    headers = [(name, value) for name, _, value in (line.partition(b": ") for line in fields.split(b"\r\n"))]
    answer = httpx.Response(int(first.split()[1]), headers=headers, content=body, request=request)
    documented.check(answer)
    return answer


async def _conflict(served: Served, driver: Driver) -> httpx.Response:
    headers = {"Idempotency-Key": "k"}
    await served.http.post(URL, json={"prompt": "One"}, headers=headers)
    return await served.http.post(URL, json={"prompt": "Two"}, headers=headers)


async def _draining(served: Served, driver: Driver, method: str, path: str, **body: object) -> httpx.Response:
    served.drain()
    return await served.http.request(method, path, json=body or {"prompt": "Hello"})


JSON = {"content-type": "application/json"}
PROVOKED: Answers = {
    ("submitRun", "202"): _simple("POST", URL, json={"prompt": "Hello"}),
    ("submitRun", "400"): _simple("POST", URL, json={}),
    ("submitRun", "408"): _slow,
    ("submitRun", "409"): _conflict,
    ("submitRun", "413"): _simple("POST", URL, content=b"x" * 1001, headers=JSON),
    ("submitRun", "415"): _simple("POST", URL, content=b"{}"),
    ("submitRun", "422"): _simple("POST", URL, content=b"{", headers=JSON),
    ("submitRun", "503"): lambda served, driver: _draining(served, driver, "POST", URL),
    ("submitBatch", "200"): _simple("POST", BATCH, json={"runs": [{"prompt": "Hello"}]}),
    ("submitBatch", "207"): _simple("POST", BATCH, json={"runs": [{"prompt": "Hello"}, {}]}),
    ("submitBatch", "408"): partial(_slow, path=BATCH),
    ("submitBatch", "413"): _simple("POST", BATCH, content=b"x" * 1001, headers=JSON),
    ("submitBatch", "415"): _simple("POST", BATCH, content=b"{}"),
    ("submitBatch", "422"): _simple("POST", BATCH, json={"runs": []}),
    ("submitBatch", "503"): lambda served, driver: _draining(served, driver, "POST", BATCH, runs=[{}]),
    ("listRuns", "200"): _simple("GET", URL),
    ("listRuns", "400"): _simple("GET", f"{URL}?page=0"),
    ("getRun", "200"): _simple("GET", f"{URL}/{{id}}?wait=0.01"),
    ("getRun", "400"): _simple("GET", f"{URL}/{{id}}?wait=x"),
    ("getRun", "404"): _simple("GET", f"{URL}/run_x"),
    ("deleteRun", "204"): _simple("DELETE", f"{URL}/{{id}}", ended=True),
    ("deleteRun", "400"): _simple("DELETE", f"{URL}/{{id}}"),
    ("deleteRun", "404"): _simple("DELETE", f"{URL}/run_x"),
    ("cancelRun", "200"): _simple("POST", f"{URL}/{{id}}/cancel"),
    ("cancelRun", "400"): _simple("POST", f"{URL}/{{id}}/cancel", ended=True),
    ("cancelRun", "404"): _simple("POST", f"{URL}/run_x/cancel"),
    ("listSteps", "200"): _simple("GET", f"{URL}/{{id}}/steps"),
    ("listSteps", "400"): _simple("GET", f"{URL}/{{id}}/steps?page=0"),
    ("listSteps", "404"): _simple("GET", f"{URL}/run_x/steps"),
    ("getStep", "200"): partial(_of_step, "GET"),
    ("getStep", "404"): _simple("GET", f"{URL}/{{id}}/steps/pay"),
    ("answerStep", "200"): partial(_of_step, "POST", json={"action": "skip", "result": None}),
    ("answerStep", "404"): _simple("POST", f"{URL}/{{id}}/steps/pay", json={"action": "retry"}),
    ("answerStep", "408"): partial(_slow, path=f"{URL}/run_x/steps/pay"),
    ("answerStep", "409"): partial(_of_step, "POST", is_unsure=False, json={"action": "retry"}),
    ("answerStep", "413"): _simple("POST", f"{URL}/{{id}}/steps/pay", content=b"x" * 1001, headers=JSON),
    ("answerStep", "415"): _simple("POST", f"{URL}/{{id}}/steps/pay", content=b"{}"),
    ("answerStep", "422"): _simple("POST", f"{URL}/{{id}}/steps/pay", json={"action": "skip"}),
    ("changeBudget", "200"): _simple("POST", f"{URL}/{{id}}/budget", json={"max_tokens": 1}),
    ("changeBudget", "400"): _simple("POST", f"{URL}/{{id}}/budget", ended=True, json={"max_tokens": 1}),
    ("changeBudget", "404"): _simple("POST", f"{URL}/run_x/budget", json={"max_tokens": 1}),
    ("changeBudget", "408"): partial(_slow, path=f"{URL}/run_x/budget"),
    ("changeBudget", "413"): _simple("POST", f"{URL}/{{id}}/budget", content=b"x" * 1001, headers=JSON),
    ("changeBudget", "415"): _simple("POST", f"{URL}/{{id}}/budget", content=b"{}"),
    ("changeBudget", "422"): _simple("POST", f"{URL}/{{id}}/budget", json={"max_tokens": 0}),
    ("retryRun", "202"): _simple("POST", f"{URL}/{{id}}/retry", ended=True),
    ("retryRun", "400"): _simple("POST", f"{URL}/{{id}}/retry"),
    ("retryRun", "404"): _simple("POST", f"{URL}/run_x/retry"),
    ("retryRun", "408"): partial(_slow, path=f"{URL}/run_x/retry"),
    ("retryRun", "409"): _retry_conflict,
    ("retryRun", "413"): _simple("POST", f"{URL}/{{id}}/retry", content=b"x" * 1001, headers=JSON),
    ("retryRun", "415"): _simple("POST", f"{URL}/{{id}}/retry", content=b"{}"),
    ("retryRun", "422"): _simple("POST", f"{URL}/{{id}}/retry", json={"mode": "again"}),
    ("retryRun", "503"): lambda served, driver: _draining(
        served, driver, "POST", f"{URL}/run_x/retry", mode="fresh"
    ),
    ("listCalls", "200"): _simple("GET", f"{URL}/{{id}}/calls"),
    ("listCalls", "400"): _simple("GET", f"{URL}/{{id}}/calls?limit=0"),
    ("listCalls", "404"): _simple("GET", f"{URL}/run_x/calls"),
    ("getResult", "200"): _simple("GET", f"{URL}/{{id}}/result", ended=True),
    ("getResult", "400"): _simple("GET", f"{URL}/{{id}}/result"),
    ("getResult", "404"): _simple("GET", f"{URL}/run_x/result"),
    ("getRawResult", "200"): _simple("GET", f"{URL}/{{id}}/result/raw", ended=True),
    ("getRawResult", "206"): _simple(
        "GET", f"{URL}/{{id}}/result/raw", ended=True, headers={"range": "bytes=0-1"}
    ),
    ("getRawResult", "400"): _simple("GET", f"{URL}/{{id}}/result/raw"),
    ("getRawResult", "404"): _simple("GET", f"{URL}/run_x/result/raw"),
    ("getRawResult", "416"): _simple(
        "GET", f"{URL}/{{id}}/result/raw", ended=True, headers={"range": "bytes=99-"}
    ),
    ("streamRun", "200"): _simple("GET", f"{URL}/{{id}}/stream", ended=True),
    ("streamRun", "204"): _simple("GET", f"{URL}/{{id}}/stream?after=9", ended=True),
    ("streamRun", "400"): _simple("GET", f"{URL}/{{id}}/stream?after=x"),
    ("streamRun", "404"): _simple("GET", f"{URL}/run_x/stream"),
    ("createSchedule", "201"): _simple("POST", SCHEDULES, json=SCHEDULE),
    ("createSchedule", "400"): _simple("POST", SCHEDULES, json=SCHEDULE | {"run": {}}),
    ("createSchedule", "408"): partial(_slow, path=SCHEDULES),
    ("createSchedule", "413"): _simple("POST", SCHEDULES, content=b"x" * 1001, headers=JSON),
    ("createSchedule", "415"): _simple("POST", SCHEDULES, content=b"{}"),
    ("createSchedule", "422"): _simple("POST", SCHEDULES, json=SCHEDULE | {"cron": "x"}),
    ("listSchedules", "200"): _simple("GET", SCHEDULES),
    ("listSchedules", "400"): _simple("GET", f"{SCHEDULES}?page=0"),
    ("getSchedule", "200"): _of_schedule("GET"),
    ("getSchedule", "404"): _simple("GET", f"{SCHEDULES}/sch_x"),
    ("changeSchedule", "200"): _of_schedule("PATCH", json={"name": "Other"}),
    ("changeSchedule", "400"): _of_schedule("PATCH", json={"run": {}}),
    ("changeSchedule", "404"): _simple("PATCH", f"{SCHEDULES}/sch_x", json={}),
    ("changeSchedule", "408"): partial(_slow, path=f"{SCHEDULES}/sch_x", method="PATCH"),
    ("changeSchedule", "413"): _of_schedule("PATCH", content=b"x" * 1001, headers=JSON),
    ("changeSchedule", "415"): _of_schedule("PATCH", content=b"{}"),
    ("changeSchedule", "422"): _of_schedule("PATCH", json={"timezone": "Mars"}),
    ("deleteSchedule", "204"): _of_schedule("DELETE"),
    ("deleteSchedule", "404"): _simple("DELETE", f"{SCHEDULES}/sch_x"),
    ("triggerSchedule", "202"): _of_schedule("POST", "/trigger"),
    ("triggerSchedule", "404"): _simple("POST", f"{SCHEDULES}/sch_x/trigger"),
    ("triggerSchedule", "409"): _trigger_conflict,
    ("triggerSchedule", "422"): _of_schedule("POST", "/trigger", headers={"idempotency-key": "x" * 256}),
    ("triggerSchedule", "503"): _of_schedule("POST", "/trigger", drained=True),
    ("pauseSchedule", "200"): _of_schedule("POST", "/pause"),
    ("pauseSchedule", "404"): _simple("POST", f"{SCHEDULES}/sch_x/pause"),
    ("resumeSchedule", "200"): _of_schedule("POST", "/resume"),
    ("resumeSchedule", "404"): _simple("POST", f"{SCHEDULES}/sch_x/resume"),
    ("listSessions", "200"): _simple("GET", SESSIONS),
    ("listSessions", "400"): _simple("GET", f"{SESSIONS}?cursor=nobody"),
    ("getSession", "200"): _in_session,
    ("getSession", "404"): _simple("GET", f"{SESSIONS}/nobody"),
    ("limitSession", "200"): _simple("PUT", f"{SESSIONS}/s", json={"max_running": 1}),
    ("limitSession", "404"): _simple("PUT", f"{SESSIONS}/{'s' * 256}", json={}),
    ("limitSession", "408"): partial(_slow, path=f"{SESSIONS}/s", method="PUT"),
    ("limitSession", "413"): _simple("PUT", f"{SESSIONS}/s", content=b"x" * 1001, headers=JSON),
    ("limitSession", "415"): _simple("PUT", f"{SESSIONS}/s", content=b"{}"),
    ("limitSession", "422"): _simple("PUT", f"{SESSIONS}/s", json={"max_running": 0}),
    ("listWorkers", "200"): _simple("GET", "/api/v1/workers"),
    ("getHealth", "200"): _simple("GET", "/health"),
    ("getReadiness", "200"): _simple("GET", "/ready"),
    ("getReadiness", "503"): lambda served, driver: _draining(served, driver, "GET", "/ready"),
    ("getStats", "200"): _simple("GET", "/stats"),
    ("getContract", "200"): _simple("GET", "/openapi.json"),
    ("getDocs", "200"): _simple("GET", "/docs"),
    ("getFrontPage", "200"): _simple("GET", "/"),
}


def _written() -> set[tuple[str, str]]:
    return {
        (operation.operation_id, status)
        for item in contract().paths.values()
        for operation in item.operations.values()
        for status in operation.responses
        if status not in ("default", "401", "421")
    }


def test_every_written_answer_is_provoked() -> None:
    assert set(PROVOKED) == _written()


@pytest.mark.parametrize(("operation", "status"), sorted(PROVOKED))
async def test_a_written_answer_can_be_had(serve: Serve, driver: Driver, operation: str, status: str) -> None:
    served = await serve(limits=Limits(max_bytes=1000, pause_s=0.2))

    answer = await PROVOKED[operation, status](served, driver)

    assert str(answer.status_code) == status
    _check_headers(operation, status, answer)


NOT_ALWAYS = {"idempotency-replayed", "preference-applied"}


def _check_headers(operation: str, status: str, answer: httpx.Response) -> None:
    """Every header that is written comes, but for those that say something special."""
    (found,) = [
        at
        for item in contract().paths.values()
        for at in item.operations.values()
        if at.operation_id == operation
    ]
    written = contract().response(found.responses[status])
    missing = {name.lower() for name in written.headers} - {name.lower() for name in answer.headers}
    assert missing <= NOT_ALWAYS


@pytest.mark.parametrize("status", ["401", "421"])
def test_who_is_not_let_in_is_written_wherever_somebody_may_be(status: str) -> None:
    without = {
        operation.operation_id
        for item in contract().paths.values()
        for operation in item.operations.values()
        if status not in operation.responses
    }

    assert without == {"getHealth"}
