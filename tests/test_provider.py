"""The scripted provider itself: what other tests rely on, seen through OpenAI's own client."""

import socket

import openai
import pytest

from tests.provider import Fail, Provider, Say


def _client(provider: Provider) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=provider.base_url, api_key=provider.key, max_retries=0)


async def test_chat_is_answered_whole_and_in_words() -> None:
    with Provider() as provider:
        provider.answer = lambda asked: Say("two plus two", input_tokens=7, output_tokens=3)
        async with _client(provider) as client:
            whole = await client.chat.completions.create(
                model="m", messages=[{"role": "user", "content": "?"}]
            )
            stream = await client.chat.completions.create(
                model="m", messages=[{"role": "user", "content": "?"}], stream=True
            )
            words = [chunk.choices[0].delta.content async for chunk in stream]

    assert whole.choices[0].message.content == "two plus two"
    assert whole.usage is not None
    assert (whole.usage.prompt_tokens, whole.usage.completion_tokens) == (7, 3)
    assert words == ["", "two ", "plus ", "two", None]


async def test_responses_are_answered_whole_and_in_events() -> None:
    with Provider() as provider:
        async with _client(provider) as client:
            whole = await client.responses.create(model="m", input="?")
            async with client.responses.stream(model="m", input="?") as stream:
                streamed = await stream.get_final_response()

    assert whole.output_text == streamed.output_text == "Hello."
    assert streamed.usage is not None
    assert streamed.usage.input_tokens == 11


async def test_a_scripted_error_comes_once_and_in_its_turn() -> None:
    with Provider() as provider:
        provider.script(Fail(503))
        async with _client(provider) as client:
            with pytest.raises(openai.InternalServerError):
                await client.embeddings.create(model="m", input="?")
            again = await client.embeddings.create(model="m", input=["a", "b"], encoding_format="float")

    assert len(again.data) == 2


async def test_a_tool_can_be_called() -> None:
    with Provider() as provider:
        provider.script(Say(tool="search", arguments='{"q": 1}'))
        async with _client(provider) as client:
            answer = await client.chat.completions.create(
                model="m", messages=[{"role": "user", "content": "?"}]
            )

    calls = answer.choices[0].message.tool_calls
    assert calls is not None
    assert calls[0].type == "function"
    assert calls[0].function.name == "search"


async def test_a_wrong_key_is_refused() -> None:
    with Provider() as provider:
        async with openai.AsyncOpenAI(base_url=provider.base_url, api_key="x", max_retries=0) as client:
            with pytest.raises(openai.AuthenticationError):
                await client.models.list()


def test_a_caller_that_leaves_is_noticed() -> None:
    with Provider() as provider:
        provider.script(Say(hold_after=0))
        host, port = provider.base_url.removeprefix("http://").removesuffix("/v1").split(":")
        body = b'{"model": "m", "messages": []}'
        head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {provider.key}\r\n"
        with socket.create_connection((host, int(port))) as caller:
            caller.sendall(head.encode() + f"content-length: {len(body)}\r\n\r\n".encode() + body)
            provider.wait(lambda: len(provider.asked) == 1, "the call to arrive")

        provider.wait(lambda: provider.asked[0].disconnected_at is not None, "the provider to notice")

    assert not provider.asked[0].answered
