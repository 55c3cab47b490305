"""What an agent returns is what arrives: in the result, in the stream and at the webhook, whatever it has in it."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import msgspec
import pytest

from tests.live import Live
from tests.webhooks.receiver import Receiver, receiver

TEXTS = {
    "quotes": """ "double" 'single' `back` «angle» “curly” \\ \\\\ \\" \\n \\u0041 \\ud800 {"a": "b"} ]]> </script>""",
    "line breaks of every kind": "a\nb\rc\r\nd\n\ne\x0bf\x0cg\x1ch\x1di\x1ej\x85k\u2028l\u2029m\n",
    "what looks like a stream": "data: [DONE]\n\nid: 99\nevent: complete\nretry: 1\n: comment\n\ndata: {}\n\n",
    "control characters": "".join(chr(code) for code in range(32)) + "\x7f",
    "every plane": "é e\u0301 ß İ 中文 ﷽ 👩\u200d👩\u200d👧 🇪🇺"
    " \U0001d4b3 \U000e0001 \U0010ffff \ufeff \ufffe \uffff \u202e ltr \u2066",
    "blanks at both ends": " \t\n x \n\t ",
    "pairs of surrogates": "\U0001f600\U00010000\U0010fffd",
    "numbers as text": "1e999 NaN Infinity 0.1 9007199254740993",
}
LONE = "lone \ud800, \udfff, and the wrong way round \ude00\ud83d."
MENDED = LONE.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
FIVE_MB = 5 * 1024 * 1024
VALUES: list[object] = [
    {"a": [1, -2.5, True, None, "", {"": []}], "ü\n\u2028": "\x00"},
    [],
    0,
    False,
    9007199254740993,
]


class Arrived(msgspec.Struct, frozen=True):
    """A finished run's outcome as three readers got it."""

    result: dict[str, object]
    stream: dict[str, object]
    webhook: dict[str, object]


@pytest.fixture
async def inbox() -> AsyncIterator[Receiver]:
    async with receiver() as running:
        yield running


async def outcome(live: Live, inbox: Receiver, agent: str, told: object) -> Arrived:
    """Run the agent on a value, and collect what comes out at every end."""
    file = live.root / "told.json"
    file.write_text(json.dumps(told))
    job_id = live.submit(prompt=str(file), agent=agent, webhook_url=inbox.url)
    await asyncio.to_thread(live.wait_for_end, job_id)
    result = live.http.get(f"/api/v1/runs/{job_id}/result").content
    (hook,) = await inbox.until(1)
    return Arrived(json.loads(result), ended(live, job_id), json.loads(hook.body))


def ended(live: Live, job_id: str) -> dict[str, object]:
    """The data of the `complete` event, read with the cutter of lines that the documents' sample uses."""
    with httpx.stream("GET", f"{live.url}/api/v1/runs/{job_id}/stream", trust_env=False) as answer:
        data = [line[5:] for line in answer.iter_lines() if line.startswith("data:")]
    assert data.pop().strip() == "[DONE]"
    events = [json.loads(line) for line in data]
    assert [event["event"] for event in events].count("complete") == 1
    found: dict[str, object] = events[-1]["data"]
    return found


def the_same(arrived: Arrived, result: object) -> bool:
    return [arrived.result["result"], arrived.stream["result"], arrived.webhook["result"]] == [result] * 3


@pytest.mark.parametrize("told", TEXTS.values(), ids=list(TEXTS))
async def test_any_text_survives(live: Live, inbox: Receiver, told: str) -> None:
    assert the_same(await outcome(live, inbox, "give", told), told)


@pytest.mark.parametrize("told", VALUES, ids=repr)
async def test_any_json_value_survives(live: Live, inbox: Receiver, told: object) -> None:
    arrived = await outcome(live, inbox, "give", told)

    assert the_same(arrived, told)
    assert type(arrived.result["result"]) is type(told)


async def test_a_lone_surrogate_becomes_the_replacement_character(live: Live, inbox: Receiver) -> None:
    assert the_same(await outcome(live, inbox, "give", {"a": LONE, LONE: 1}), {"a": MENDED, MENDED: 1})


@pytest.mark.parametrize("unit", ["x", '"\n\\', "ü🦜\u2028\x00"], ids=["plain", "escaped", "unicode"])
async def test_five_megabytes_survive(live: Live, inbox: Receiver, unit: str) -> None:
    told = unit * (FIVE_MB // len(json.dumps(unit, ensure_ascii=False).encode()[1:-1]))

    assert the_same(await outcome(live, inbox, "give", told), told)


async def test_a_prompt_of_five_megabytes_comes_back_as_it_was(live: Live) -> None:
    prompt = "ü🦜\n\"'" * (FIVE_MB // 10)

    job_id = live.submit(prompt=prompt, framework="echo")

    await asyncio.to_thread(live.wait_for_end, job_id)
    assert live.http.get(f"/api/v1/runs/{job_id}/result").json()["result"] == prompt


@pytest.mark.parametrize("told", [*TEXTS.values(), LONE], ids=[*TEXTS, "lone surrogates"])
async def test_what_a_failing_agent_says_survives(live: Live, inbox: Receiver, told: str) -> None:
    arrived = await outcome(live, inbox, "tell", told)

    said = MENDED if told == LONE else told
    assert arrived.stream["status"] == arrived.webhook["status"] == "failed"
    assert str(arrived.stream["error"]).endswith(said)
    assert str(arrived.webhook["error"]).endswith(said)


@pytest.mark.parametrize("told", [*TEXTS.values(), LONE], ids=[*TEXTS, "lone surrogates"])
def test_what_an_agent_logs_survives(live: Live, tmp_path: Path, told: str) -> None:
    file = tmp_path / "told.json"
    file.write_text(json.dumps(told))
    job_id = live.submit(prompt=str(file), agent="tell")
    live.wait_for_end(job_id)

    lines = live.http.get(f"/api/v1/runs/{job_id}/stream").text.splitlines()

    events = [json.loads(line[6:]) for line in lines if line.startswith("data: {")]
    messages = [event["data"]["message"] for event in events if event["event"] == "log"]
    assert messages[0] == (MENDED if told == LONE else told)


@pytest.mark.sqlite
@pytest.mark.slow
def test_a_stream_of_an_agent_that_is_silent_for_long_does_not_time_out(live: Live) -> None:
    job_id = live.submit(prompt="7", agent="think")  # httpx, unless told otherwise, waits for 5 s

    assert ended(live, job_id)["result"] == "Thought."
