"""A kept stream is found by whoever asks for the whole answer, and the other way round, in every dialect."""

import anthropic
import httpx
import msgspec
import openai
import pytest

from outlast.gateway import retell
from tests import anthropic_wire, openai_wire
from tests.gateway.conftest import ASK, COUNTED, STREAM, Agent
from tests.openai_wire import Answer, Json
from tests.provider import Provider, Say

TEXT = Answer("m", ("It ", "is ", "four."), 11, 5)
TOOL = Say(tool="add", arguments='{"a": 2, "b": [2]}')
USER: list[openai.types.chat.ChatCompletionMessageParam] = [{"role": "user", "content": "What is 2+2?"}]


def decoded(body: bytes | None) -> Json:
    assert body is not None
    return msgspec.json.decode(body, type=Json)


def test_a_streamed_completion_is_the_whole_one() -> None:
    stream = b"".join(openai_wire.chat_chunks(TEXT, with_usage=True))

    whole = decoded(retell.as_whole("/chat/completions", stream))

    expected = decoded(openai_wire.chat_answer(TEXT))
    choices = expected["choices"]
    assert isinstance(choices, list)
    del choices[0]["logprobs"]  # null in the stream, and so left out
    assert whole == expected


def test_a_streamed_response_is_the_whole_one() -> None:
    stream = b"".join(openai_wire.responses_events(TEXT))

    assert decoded(retell.as_whole("/responses", stream)) == decoded(openai_wire.responses_answer(TEXT))


def test_a_streamed_message_is_the_whole_one() -> None:
    stream = b"".join(anthropic_wire.events(TEXT))

    assert decoded(retell.as_whole("/messages", stream)) == decoded(anthropic_wire.message(TEXT))


@pytest.mark.parametrize("path", ["/chat/completions", "/responses", "/messages"])
@pytest.mark.parametrize(
    "stream",
    [b"", b"data: [DONE]\n\n", b"data: {\n\n", b'data: {"choices": [{"delta": {}}]}\n\n', b"data: []\n\n"],
)
def test_a_stream_that_tells_no_answer_is_none(path: str, stream: bytes) -> None:
    assert retell.as_whole(path, stream) is None


@pytest.mark.parametrize("path", ["/chat/completions", "/responses", "/messages", "/embeddings"])
@pytest.mark.parametrize("whole", [b"", b"[]", b"{}", b'{"data": []}'])
def test_a_whole_that_is_no_answer_cannot_be_streamed(path: str, whole: bytes) -> None:
    assert retell.as_stream(path, whole, with_usage=True) is None


def test_what_providers_add_to_a_message_is_kept() -> None:
    deltas = (
        b'{"reasoning_content": "Hm"}',
        b'{"reasoning_content": "m."}',
        b'{"content": "4"}',
        b'{"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f", "arguments": ""}}]}',
        b'{"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f", "arguments": "{}"}}]}',
    )
    stream = b"".join(b'data: {"choices": [{"index": 0, "delta": %b}]}\n\n' % delta for delta in deltas)
    stream += b'data: {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}\n\ndata: [DONE]\n\n'

    choices = decoded(retell.as_whole("/chat/completions", stream))["choices"]

    assert isinstance(choices, list)
    assert choices[0]["message"] == {
        "role": "assistant",
        "reasoning_content": "Hmm.",
        "content": "4",
        "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": "{}"}}],
    }


async def _ask(agent: Agent, body: Json, path: str = "/chat/completions") -> httpx.Response:
    async with agent.raw() as client:
        return await client.post(path, json=body)


@pytest.mark.parametrize("reply", [Say("It is four."), TOOL])
async def test_completions_cross_over(agent: Agent, provider: Provider, reply: Say) -> None:
    provider.script(reply, reply)
    whole = (await _ask(agent, {**ASK, "seed": 1})).json()
    await _ask(agent, {**STREAM, "seed": 2})

    second = await agent.lost()
    streamed = (await _ask(second, {**ASK, "seed": 2})).json()
    async with (
        second.openai() as client,
        client.chat.completions.stream(model="gpt-test", messages=USER, seed=1) as stream,
    ):
        final = await stream.get_final_completion()

    assert streamed["choices"][0]["message"] == whole["choices"][0]["message"]
    assert streamed["usage"] == whole["usage"]
    message = final.choices[0].message
    assert message.content == whole["choices"][0]["message"]["content"]
    assert [call.function.arguments for call in message.tool_calls or ()] == (
        [] if reply.tool is None else [reply.arguments]
    )
    assert final.choices[0].finish_reason == whole["choices"][0]["finish_reason"]
    assert len(provider.asked) == 2


async def test_only_who_asked_for_the_usage_chunk_gets_it(agent: Agent, provider: Provider) -> None:
    await _ask(agent, ASK)
    await _ask(agent, {**STREAM, "seed": 1})

    second = await agent.lost()
    plain, counted = await _ask(second, STREAM), await _ask(second, {**COUNTED, "seed": 1})
    third = await second.lost()
    other = await _ask(third, COUNTED), await _ask(third, {**STREAM, "seed": 1})

    assert [b'"usage"' in answer.content for answer in (plain, counted, *other)] == [False, True, True, False]
    assert all(answer.content.endswith(b"data: [DONE]\n\n") for answer in (plain, counted, *other))
    assert len(provider.asked) == 2


@pytest.mark.parametrize("reply", [Say("It is four."), TOOL])
async def test_responses_cross_over(agent: Agent, provider: Provider, reply: Say) -> None:
    provider.script(reply, reply)
    async with agent.openai() as client:
        whole = await client.responses.create(model="gpt-test", input="one")
        async with client.responses.stream(model="gpt-test", input="two") as stream:
            await stream.until_done()

    second = await agent.lost()
    async with second.openai() as client:
        streamed = await client.responses.create(model="gpt-test", input="two")
        async with client.responses.stream(model="gpt-test", input="one") as stream:
            final = await stream.get_final_response()

    assert streamed.to_dict()["output"] == whole.to_dict()["output"]
    assert final.output_text == whole.output_text
    assert final.output[0].type == whole.output[0].type
    assert len(provider.asked) == 2


@pytest.mark.parametrize("reply", [Say("It is four."), TOOL])
async def test_messages_cross_over(agent: Agent, provider: Provider, reply: Say) -> None:
    provider.script(reply, reply)
    base = agent.grant.base_url.removesuffix("/v1")
    async with anthropic.AsyncAnthropic(base_url=base, api_key=agent.grant.token, max_retries=0) as client:
        whole = await client.messages.create(
            model="m", max_tokens=9, messages=[{"role": "user", "content": "one"}]
        )
        async with client.messages.stream(
            model="m", max_tokens=9, messages=[{"role": "user", "content": "two"}]
        ) as stream:
            await stream.until_done()

    second = await agent.lost()
    async with anthropic.AsyncAnthropic(base_url=base, api_key=second.grant.token, max_retries=0) as client:
        streamed = await client.messages.create(
            model="m", max_tokens=9, messages=[{"role": "user", "content": "two"}]
        )
        async with client.messages.stream(
            model="m", max_tokens=9, messages=[{"role": "user", "content": "one"}]
        ) as stream:
            final = await stream.get_final_message()

    assert [block.to_dict() for block in streamed.content] == [block.to_dict() for block in whole.content]
    assert [block.type for block in final.content] == [block.type for block in whole.content]
    assert (final.stop_reason, final.usage.output_tokens) == (whole.stop_reason, whole.usage.output_tokens)
    assert len(provider.asked) == 2
