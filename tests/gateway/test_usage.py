"""Tokens are counted from what the provider says, whatever the dialect, before the agent has the last byte."""

import pytest

from outlast.gateway.usage import Frames, Mark, Meter, Tokens
from outlast.runs import Caller, Usage
from tests.gateway.conftest import ASK, COUNTED, STREAM, Agent
from tests.openai_wire import Json
from tests.provider import Fail, Provider, Raw, Say

RESPONSE: Json = {"model": "gpt-test", "input": "What is 2+2?"}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/chat/completions", ASK),
        ("/chat/completions", STREAM),
        ("/chat/completions", COUNTED),
        ("/responses", RESPONSE),
        ("/responses", {**RESPONSE, "stream": True}),
    ],
)
async def test_every_dialect_is_counted(agent: Agent, provider: Provider, path: str, body: Json) -> None:
    provider.script(Say("Four.", input_tokens=7, output_tokens=3))

    async with agent.raw() as client:
        await client.post(path, json=body)

    assert (await agent.head()).usage == Usage(1, 7, 3, unpriced_calls=1)
    (call,) = await agent.calls()
    assert call == {
        "model": "gpt-test",
        "path": f"/v1{path}",
        "status": 200,
        "streamed": body.get("stream", False),
        "ms": 0,
        "how": "live",
        "input_tokens": 7,
        "output_tokens": 3,
    }


async def test_calls_add_up_and_what_is_not_said_is_left_out(agent: Agent, provider: Provider) -> None:
    provider.script(Say(), Raw((b"{}",)))

    async with agent.raw() as client:
        await client.post("/chat/completions", json=ASK)
        await client.post("/chat/completions", json=ASK)
        await client.post("/embeddings", json={"model": "e", "input": "x"})

    assert (await agent.head()).usage == Usage(3, 11 + 3, 5, unpriced_calls=3)
    assert [(call.get("input_tokens"), call.get("output_tokens")) for call in await agent.calls()] == [
        (11, 5),
        (None, None),
        (3, None),
    ]


@pytest.mark.parametrize("nonsense", [2**63, -1])
async def test_a_count_that_cannot_be_is_unknown(agent: Agent, provider: Provider, nonsense: int) -> None:
    provider.script(Say("Four.", input_tokens=nonsense, output_tokens=3))

    async with agent.raw() as client:
        answer = await client.post("/chat/completions", json=ASK)

    assert answer.status_code == 200
    assert (await agent.head()).usage == Usage(1, 0, 3, unpriced_calls=1)


async def test_a_call_is_recorded_before_its_last_byte_is_delivered(agent: Agent, provider: Provider) -> None:
    provider.script(Say("one two", hold_after=5))

    async with agent.raw() as client, client.stream("POST", "/chat/completions", json=STREAM) as answer:
        text = ""
        async for piece in answer.aiter_text():
            text += piece
            if "[DONE]" in piece:
                assert (await agent.head()).usage.model_calls == 1
                provider.release()
            elif "[DONE]" not in text:
                provider.release()

    assert "[DONE]" in text


async def test_failed_calls_are_told_but_not_counted(agent: Agent, provider: Provider) -> None:
    provider.script(Fail(400, "x" * 2000))

    async with agent.raw() as client:
        await client.post("/chat/completions", json=ASK)

    assert (await agent.head()).usage == Usage()
    (call,) = await agent.calls()
    assert call["status"] == 400
    assert len(str(call["error"])) < 600


async def test_an_error_inside_a_stream_is_the_reason(agent: Agent, provider: Provider) -> None:
    pieces = (b'data: {"choices":[]}\n\n', b'data: {"error":{"message":"Out of luck.","code":1}}\n\n')
    provider.script(Raw(pieces, 200, {"content-type": "text/event-stream"}))

    async with agent.raw() as client:
        answer = await client.post("/chat/completions", json=STREAM)

    assert answer.content == b"".join(pieces)
    assert agent.gateway.reason(agent.attempt_id) == "Out of luck."
    assert (await agent.head()).usage.model_calls == 0


async def test_a_run_deleted_meanwhile_still_gets_its_answer(agent: Agent, provider: Provider) -> None:
    await agent.engine.cancel(Caller(), agent.run_id)
    await agent.engine.delete(Caller(), agent.run_id)

    async with agent.raw() as client:
        answer = await client.post("/chat/completions", json=ASK)

    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("event", "mark", "tokens"),
    [
        (b'data: {"choices":[{"delta":{"content":"usage"}}]}\n\n', Mark.PLAIN, Tokens()),
        (b'data: {"choices":[{"delta":{}}],"usage":null}\n\n', Mark.PLAIN, Tokens()),
        (
            b'data: {"choices":[{}],"usage":{"prompt_tokens":1,"completion_tokens":2}}\n\n',
            Mark.PLAIN,
            Tokens(1, 2),
        ),
        (b'data:{"choices":[],"usage":{"prompt_tokens":1}}\r\n\r\n', Mark.USAGE_ONLY, Tokens(1, None)),
        (b"data: [DONE]\n\n", Mark.LAST, Tokens()),
        (b": comment\n\n", Mark.PLAIN, Tokens()),
        (b'data: {"usage": broken\n\n', Mark.PLAIN, Tokens()),
        (
            b'event: response.completed\ndata: {"type":"response.completed","response":{"usage":{"input_tokens":1,'
            b'"output_tokens":2}}}\n\n',
            Mark.LAST,
            Tokens(1, 2),
        ),
        (
            b'data: {"type":"response.created","response":{"usage":null,"error":null}}\n\n',
            Mark.PLAIN,
            Tokens(),
        ),
    ],
)
def test_events_are_read_for_what_they_tell(event: bytes, mark: Mark, tokens: Tokens) -> None:
    meter = Meter()

    assert meter.event(event) is mark
    assert meter.tokens == tokens
    assert meter.error is None


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 100])
def test_frames_are_whole_events_and_lose_nothing(size: int) -> None:
    text = b"data: a\n\n\r\ndata: b\r\n\r\n: c\n\ndata: d\ndata: e\n\nrest"
    frames = Frames()

    events = [event for n in range(0, len(text), size) for event in frames.feed(text[n : n + size])]

    assert b"".join(events) + frames.rest() == text
    assert [event.strip() for event in events if event.strip()] == [
        b"data: a",
        b"data: b",
        b": c",
        b"data: d\ndata: e",
    ]
