"""What the provider says reaches the agent as it came, whole and streamed, in both of OpenAI's dialects."""

import openai
import pytest

from tests.gateway.conftest import ASK, COUNTED, STREAM, Agent
from tests.provider import Fail, Provider, Raw, Say

USER = [{"role": "user", "content": "What is 2+2?"}]


async def test_a_chat_completion_is_answered_through_openais_client(agent: Agent, provider: Provider) -> None:
    provider.script(Say("Four."))

    async with agent.openai() as client:
        answer = await client.chat.completions.create(
            model="gpt-test", messages=[{"role": "user", "content": "What is 2+2?"}]
        )

    assert answer.choices[0].message.content == "Four."
    assert answer._request_id == "req_provider_1"


async def test_a_chat_completion_is_streamed_through_openais_client(agent: Agent, provider: Provider) -> None:
    provider.script(Say("It is four."))

    async with agent.openai() as client:
        stream = await client.chat.completions.create(
            model="gpt-test", messages=[{"role": "user", "content": "What is 2+2?"}], stream=True
        )
        words = [chunk.choices[0].delta.content for chunk in [chunk async for chunk in stream]]

    assert words == ["", "It ", "is ", "four.", None]


async def test_a_response_is_answered_and_streamed_through_openais_client(
    agent: Agent, provider: Provider
) -> None:
    provider.script(Say("Four."), Say("It is four."))

    async with agent.openai() as client:
        whole = await client.responses.create(model="gpt-test", input="What is 2+2?")
        async with client.responses.stream(model="gpt-test", input="What is 2+2?") as stream:
            streamed = await stream.get_final_response()

    assert whole.output_text == "Four."
    assert streamed.output_text == "It is four."


async def test_embeddings_pass_through(agent: Agent) -> None:
    async with agent.openai() as client:
        answer = await client.embeddings.create(model="embed", input=["a", "b"], encoding_format="float")

    assert [item.embedding for item in answer.data] == [[0.25, 0.5], [0.25, 0.5]]


async def test_the_models_are_the_servers_aliases(agent: Agent, provider: Provider) -> None:
    async with agent.openai() as client:
        models = await client.models.list()

    assert [model.id for model in models.data] == ["gpt-test"]
    assert provider.asked == []


async def test_the_request_reaches_the_provider_byte_for_byte_but_for_the_key(
    agent: Agent, provider: Provider
) -> None:
    body = b'{ "model":"gpt-test",\n "messages" : [], "seed": 1e2, "seed": 3, "\\u00fc": "\\ud83d\\ude00" }'

    async with agent.raw() as client:
        await client.post(
            "/chat/completions?api-version=1", content=body, headers={"openai-beta": "x=1", "cookie": "a=b"}
        )

    (asked,) = provider.asked
    assert asked.body == body
    assert asked.headers["openai-beta"] == "x=1"
    assert asked.headers["authorization"] == f"Bearer {provider.key}"
    assert agent.grant.token not in str(asked.headers)
    assert "cookie" not in asked.headers


async def test_status_headers_and_body_come_back_byte_for_byte(agent: Agent, provider: Provider) -> None:
    headers = {
        "content-type": "application/json; charset=utf-8",
        "x-request-id": "req_7",
        "x-ratelimit-remaining-tokens": "149",
        "set-cookie": "tracking=1",
    }
    provider.script(Raw((b'{"odd" :  1,', b' "\xc3\xbc": [] }\n'), 203, headers))

    async with agent.raw() as client:
        answer = await client.post("/chat/completions", json=ASK)

    assert answer.status_code == 203
    assert answer.content == b'{"odd" :  1, "\xc3\xbc": [] }\n'
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    assert answer.headers["x-request-id"] == "req_7"
    assert answer.headers["x-ratelimit-remaining-tokens"] == "149"
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("newline", [b"\n", b"\r\n"])
async def test_a_stream_comes_back_byte_for_byte_however_it_is_cut_up(
    agent: Agent, provider: Provider, newline: bytes
) -> None:
    text = b': thinking\n\nevent: x\ndata: {"choices":[{"delta":{"content":"\xc3\xbc"}}]}\n\n\ndata: [DONE]\n\ntail'
    text = text.replace(b"\n", newline)
    provider.script(
        Raw(tuple(text[n : n + 1] for n in range(len(text))), 200, {"content-type": "text/event-stream"})
    )

    async with agent.raw() as client:
        answer = await client.post("/chat/completions", json=COUNTED)

    assert answer.content == text
    assert answer.headers["content-type"] == "text/event-stream"


async def test_words_arrive_while_the_model_still_speaks(agent: Agent, provider: Provider) -> None:
    provider.script(Say("one two three", hold_after=2))

    async with agent.raw() as client, client.stream("POST", "/chat/completions", json=STREAM) as answer:
        pieces = answer.aiter_raw()
        text = b""
        while b"one " not in text:
            text += await anext(pieces)
        provider.release()
        text += b"".join([piece async for piece in pieces])

    assert b"three" in text
    assert text.endswith(b"data: [DONE]\n\n")


async def test_the_usage_chunk_is_shown_to_those_who_asked_for_it(agent: Agent, provider: Provider) -> None:
    async with agent.raw() as client:
        counted = await client.post("/chat/completions", json=COUNTED)
        plain = await client.post("/chat/completions", json=STREAM)

    assert b'"choices":[],"usage":{"prompt_tokens":11' in counted.content
    assert b"usage" not in plain.content
    assert plain.content.endswith(b"data: [DONE]\n\n")
    assert [asked.json["stream_options"] for asked in provider.asked] == [{"include_usage": True}] * 2
    assert (await agent.head()).usage.input_tokens == 22


async def test_a_provider_without_stream_options_is_asked_without_them(
    agent: Agent, provider: Provider
) -> None:
    provider.answer = lambda asked: (
        Fail(400, "Unrecognized request argument: stream_options")
        if "stream_options" in asked.json
        else Say("Four.")
    )

    async with agent.raw() as client:
        answers = [await client.post("/chat/completions", json=STREAM) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [200, 200]
    assert ["stream_options" in asked.json for asked in provider.asked] == [True, False, False]
    assert [call["status"] for call in await agent.calls()] == [200, 200]


async def test_default_is_the_model_of_the_run(agent: Agent, provider: Provider) -> None:
    async with agent.raw() as client:
        for model in ("default", "openai/gpt-9", "anything"):
            await client.post("/chat/completions", json={**ASK, "model": model})

    assert [asked.json["model"] for asked in provider.asked] == ["gpt-granted", "openai/gpt-9", "anything"]
    assert provider.asked[0].json["messages"] == ASK["messages"]


async def test_a_large_body_passes_and_one_too_large_is_refused(agent: Agent, provider: Provider) -> None:
    async with agent.raw() as client:
        large = await client.post("/embeddings", json={"model": "m", "input": "x" * 5_000_000})
        larger = await client.post("/embeddings", content=b"x" * (32 * 1024 * 1024 + 1))

    assert large.status_code == 200
    assert larger.status_code == 413
    assert larger.json()["error"]["code"] == "body_too_large"
    assert len(provider.asked) == 1


async def test_a_slow_reader_slows_the_provider_and_nobody_else(agent: Agent, provider: Provider) -> None:
    event = b"data: " + b"x" * 65_000 + b"\n\n"
    provider.script(Raw((event,) * 1000, 200, {"content-type": "text/event-stream"}))

    async with agent.raw() as client, client.stream("POST", "/chat/completions", json=COUNTED) as answer:
        pieces = answer.aiter_raw()
        size = len(await anext(pieces))
        for _ in range(20):
            assert (await client.post("/chat/completions", json=ASK)).status_code == 200
        sent_meanwhile = provider.asked[0].pieces
        async for piece in pieces:
            size += len(piece)

    # What lies between is in the buffers of sockets, not in the gateway's memory.
    assert sent_meanwhile < 500
    assert size == 1000 * len(event)


@pytest.mark.parametrize(("method", "path"), [("GET", "/chat/completions"), ("GET", "/x")])
async def test_what_is_not_served_is_404_in_openais_form(agent: Agent, method: str, path: str) -> None:
    async with agent.raw() as client:
        answer = await client.request(method, path)

    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "unknown_url"
    assert f"{method} /v1{path}" in answer.json()["error"]["message"]


async def test_the_agents_client_understands_a_refusal(agent: Agent) -> None:
    async with agent.openai() as client:
        with pytest.raises(openai.NotFoundError, match="Unknown request URL"):
            await client.images.generate(prompt="x")
