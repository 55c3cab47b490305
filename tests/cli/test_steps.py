"""`outlast steps` and `outlast answer`, and what other commands say of a run that waits for an answer."""

import json

import pytest

from tests.cli.conftest import Outlast
from tests.client.scripted import JsonObject, Reply, ScriptedServer, answer, problem

RUN = "run_01k"
PAY = f"POST /api/v1/runs/{RUN}/steps/pay"
AT = "2026-11-22T01:02:03.004Z"


def step(key: str, state: str, **more: object) -> JsonObject:
    of = {"step": key, "name": "pay", "effect": "once", "idempotency_key": "step_1", "started_at": AT}
    return {**of, "state": state, **more}


def run(**more: object) -> JsonObject:
    return {"job_id": RUN, "status": "running", "created_at": AT, "progress": {"percentage": 0}, **more}


def test_steps_are_a_table(server: ScriptedServer, outlast: Outlast) -> None:
    steps = [step("a", "done", ms=12, input={"of": "x" * 100}), step("pay", "unsure")]
    body = {"steps": steps, "total": 3, "page": 1, "page_size": 2}
    server.on(f"GET /api/v1/runs/{RUN}/steps", answer(body))

    done = outlast("steps", RUN, "--page-size", "2")

    assert done.out.splitlines() == [
        "STEP  EFFECT  STATE   MS  INPUT",
        f'a     once    done    12  {{"of":"{"x" * 72}…',
        "pay   once    unsure",
    ]
    assert done.err == "2 of 3 steps.\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--retry"], {"action": "retry"}),
        (["--skip", "null"], {"action": "skip", "result": None}),
        (["--skip", '{"paid": [1, "ü"]}'], {"action": "skip", "result": {"paid": [1, "ü"]}}),
        (["--fail", "No money."], {"action": "fail", "error": "No money."}),
    ],
)
def test_an_answer_is_sent_as_it_was_said(
    server: ScriptedServer, outlast: Outlast, words: list[str], said: JsonObject
) -> None:
    server.on(PAY, answer(run(status="queued")))

    done = outlast("answer", RUN, "pay", *words)

    assert (done.code, done.out) == (0, f"Run {RUN} goes on; it is queued.\n")
    assert json.loads(server.sent(PAY)[0].body) == said


def test_a_refused_answer_says_why(server: ScriptedServer, outlast: Outlast) -> None:
    server.on(PAY, problem(409, "step_not_waiting", "Step pay has been answered already: skip."))

    done = outlast("answer", RUN, "pay", "--retry")

    assert done.code == 3
    assert "has been answered already" in done.err


@pytest.mark.parametrize("words", [[], ["--retry", "--fail", "x"], ["--skip", "done"]])
def test_an_answer_that_says_nothing_clear_is_not_sent(outlast: Outlast, words: list[str]) -> None:
    assert outlast("answer", RUN, "pay", *words).code == 2


def test_status_says_what_is_asked_and_how_to_answer(server: ScriptedServer, outlast: Outlast) -> None:
    waiting = {"kind": "tool", "step": "pay:1", "name": "pay", "input": {"euros": 5}, "since": AT}
    server.on(f"GET /api/v1/runs/{RUN}", answer(run(waiting=waiting)))

    done = outlast("status", RUN)

    assert (
        f'running, waiting: was pay {{"euros":5}} done? Say so with `outlast answer {RUN} pay:1`' in done.out
    )


def test_stream_tells_of_steps(server: ScriptedServer, outlast: Outlast) -> None:
    told: list[JsonObject] = [
        {"step": "a:1", "name": "a", "state": "done", "ms": 5},
        {"step": "a:1", "name": "a", "state": "done", "ms": 5, "replayed": True},
        {"step": "pay", "name": "pay", "state": "done", "answer": "skip"},
        {"step": "b", "name": "b", "state": "failed", "ms": 1, "error": "No."},
    ]
    lines = [f"id: {n}\ndata: {json.dumps({'event': 'step', 'data': it})}" for n, it in enumerate(told, 1)]
    end = 'id: 9\ndata: {"event":"complete","data":{"status":"failed"}}'
    text = "".join(f"{line}\n\n" for line in [*lines, end, "data: [DONE]"])
    server.on(
        f"GET /api/v1/runs/{RUN}/stream", Reply(200, text.encode(), {"Content-Type": "text/event-stream"})
    )
    server.on(f"GET /api/v1/runs/{RUN}", answer(run()), answer(run(status="failed", error="No.")))

    done = outlast("stream", RUN)

    assert done.out.splitlines() == [
        "step a:1 done in 5 ms",
        "step a:1 done before",
        "step pay answered skip",
        "step b failed in 1 ms: No.",
    ]
