"""Results, cancels and deletes."""

import json

import msgspec
import pytest

from outlast.engine import Engine
from outlast.runs import Draft, EventKind, RunError, Usage
from tests.api.conftest import Served
from tests.api.driver import Driver

URL = "/api/v1/runs"
MIB = 1024 * 1024


async def test_the_result_of_a_succeeded_run(served: Served, driver: Driver) -> None:
    job_id = await served.submit()
    await driver.succeed('Sales rose.\n\n1. "Product A": +20%')

    result = (await served.http.get(f"{URL}/{job_id}/result")).json()

    assert list(result) == ["job_id", "status", "result", "duration_seconds", "created_at", "completed_at"]
    assert result["job_id"] == job_id
    assert result["status"] == "succeeded"
    assert result["result"] == 'Sales rose.\n\n1. "Product A": +20%'
    assert isinstance(result["duration_seconds"], float)


async def test_a_cost_that_nobody_knows_is_left_out(served: Served, driver: Driver, engine: Engine) -> None:
    job_id = await served.submit()
    run, attempt_id = await driver.claim()
    unknown = Usage(1, 20, 3, unpriced_calls=1)
    await engine.record_call(run.id, attempt_id, unknown, Draft(EventKind.MODEL_CALL, b"{}"))
    await engine.succeed(run, attempt_id, b"4")

    result = (await served.http.get(f"{URL}/{job_id}/result")).json()

    assert result["usage"] == {"model_calls": 1, "input_tokens": 20, "output_tokens": 3, "unpriced_calls": 1}


@pytest.mark.parametrize(
    "value", [None, True, 0, -1.5, "", "text", [], [1, {"a": None}], {}, {"größe": "🦜"}]
)
async def test_any_json_value_may_be_a_result(served: Served, driver: Driver, value: object) -> None:
    job_id = await served.submit()
    await driver.succeed(value)

    result = (await served.http.get(f"{URL}/{job_id}/result")).json()

    assert result["result"] == value


async def test_a_result_is_passed_on_byte_for_byte(served: Served, driver: Driver) -> None:
    stored = b'{"b" : 1.10, "a": "\\u00e4\\ud83e\\udd9c \xf0\x9f\xa6\x9c", "n": 12345678901234567890123}'
    job_id = await served.submit()
    await driver.succeed_json(stored)

    inline = (await served.http.get(f"{URL}/{job_id}/result")).content
    raw = (await served.http.get(f"{URL}/{job_id}/result/raw")).content

    assert stored in inline
    assert raw == stored


async def test_five_megabytes_of_difficult_text_survive(served: Served, driver: Driver) -> None:
    text = 'Zeile\n"quoted" \\ \r\n\t\u2028\u2029\x85 🦜 \x00 <>&' * 140_000
    assert len(text.encode()) > 5 * MIB
    job_id = await served.submit()
    await driver.succeed(text)

    result = (await served.http.get(f"{URL}/{job_id}/result")).json()

    assert result["result"] == text


async def test_a_result_above_8_mib_is_behind_an_address(served: Served, driver: Driver) -> None:
    text = "x" * (8 * MIB)
    job_id = await served.submit()
    await driver.succeed(text)

    result = (await served.http.get(f"{URL}/{job_id}/result")).json()

    assert "result" not in result
    assert result["result_size"] == len(text) + 2
    assert result["result_url"] == f"{served.url}{URL}/{job_id}/result/raw"
    assert (await served.http.get(result["result_url"])).json() == text


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [
        ("bytes=0-3", 0, 3),
        ("bytes=4-", 4, 11),
        ("bytes=-5", 7, 11),
        ("bytes=10-999", 10, 11),
        ("bytes=-99", 0, 11),
    ],
)
async def test_a_range_of_the_raw_result(
    served: Served, driver: Driver, asked: str, first: int, last: int
) -> None:
    job_id = await served.submit()
    await driver.succeed("0123456789")

    answer = await served.http.get(f"{URL}/{job_id}/result/raw", headers={"Range": asked})

    assert answer.status_code == 206
    assert answer.content == b'"0123456789"'[first : last + 1]
    assert answer.headers["content-range"] == f"bytes {first}-{last}/12"
    assert answer.headers["accept-ranges"] == "bytes"


@pytest.mark.sqlite
@pytest.mark.parametrize("asked", ["bytes=0-1,4-5", "lines=1-2", "bytes=5-2", "bytes=-", "bytes=a-b", ""])
async def test_a_range_that_is_none_gets_the_whole(served: Served, driver: Driver, asked: str) -> None:
    job_id = await served.submit()
    await driver.succeed("0123456789")

    answer = await served.http.get(f"{URL}/{job_id}/result/raw", headers={"Range": asked})

    assert answer.status_code == 200
    assert answer.content == b'"0123456789"'


async def test_a_range_outside_of_the_result_is_416(served: Served, driver: Driver) -> None:
    job_id = await served.submit()
    await driver.succeed("0123456789")

    answer = await served.http.get(f"{URL}/{job_id}/result/raw", headers={"Range": "bytes=12-"})

    assert answer.status_code == 416
    assert answer.headers["content-range"] == "bytes */12"


async def test_if_range_lets_a_range_count_only_for_this_result(served: Served, driver: Driver) -> None:
    job_id = await served.submit()
    await driver.succeed("0123456789")
    url = f"{URL}/{job_id}/result/raw"
    tag = (await served.http.get(url)).headers["etag"]

    same = await served.http.get(url, headers={"Range": "bytes=0-0", "If-Range": tag})
    other = await served.http.get(url, headers={"Range": "bytes=0-0", "If-Range": '"other"'})

    assert (same.status_code, other.status_code) == (206, 200)


async def test_a_run_without_a_result_says_what_it_is_instead(
    served: Served, driver: Driver, engine: Engine
) -> None:
    failed, cancelled, queued = [await served.submit() for _ in range(3)]
    run, attempt_id = await driver.claim()
    await engine.fail(run.id, attempt_id, RunError("agent_failed", "The oven is on fire."))
    await served.http.post(f"{URL}/{cancelled}/cancel")

    said = {}
    for job_id in (failed, cancelled, queued):
        for path in ("result", "result/raw"):
            answer = await served.http.get(f"{URL}/{job_id}/{path}")
            assert answer.status_code == 400
            assert answer.json()["code"] == "run_not_succeeded"
            said[job_id] = answer.json()["detail"]

    assert "failed" in said[failed]
    assert "The oven is on fire." in said[failed]
    assert "cancelled" in said[cancelled]
    assert "queued" in said[queued]


@pytest.mark.parametrize("running", [False, True])
async def test_cancel_is_final_at_once(served: Served, driver: Driver, running: bool) -> None:
    job_id = await served.submit()
    if running:
        await driver.claim()

    answer = await served.http.post(f"{URL}/{job_id}/cancel")

    assert answer.status_code == 200
    body = answer.json()
    assert list(body) == ["job_id", "status", "cancelled_at"]
    assert (body["job_id"], body["status"]) == (job_id, "cancelled")
    assert (await served.http.get(f"{URL}/{job_id}")).json()["status"] == "cancelled"


async def test_a_finished_run_cannot_be_cancelled(served: Served, driver: Driver) -> None:
    job_id = await served.submit()
    await driver.succeed()

    answer = await served.http.post(f"{URL}/{job_id}/cancel")

    assert answer.status_code == 400
    assert answer.json()["code"] == "run_finished"
    assert job_id in answer.json()["detail"]


async def test_only_a_finished_run_can_be_deleted(served: Served, driver: Driver) -> None:
    job_id = await served.submit()

    active = await served.http.delete(f"{URL}/{job_id}")
    await driver.succeed()
    gone = await served.http.delete(f"{URL}/{job_id}")
    again = await served.http.delete(f"{URL}/{job_id}")

    assert (active.status_code, gone.status_code, again.status_code) == (400, 204, 404)
    assert active.json()["code"] == "run_active"
    assert gone.content == b""


async def test_the_lone_surrogate_of_an_agent_never_breaks_an_answer(served: Served, driver: Driver) -> None:
    job_id = await served.submit()
    await driver.succeed_json(msgspec.json.encode("before \ufffd after"))

    answer = await served.http.get(f"{URL}/{job_id}/result")

    assert json.loads(answer.content)["result"] == "before \ufffd after"
