"""One attempt of the built-in runner against a scripted provider: what is sent, what is told, how it ends."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator

import pytest

from outlast.runners.builtin.body import MAX_REQUESTS, run
from outlast.runners.builtin.model import close_shared_client
from outlast.runners.protocol import AgentFailed
from outlast.runs import Progress
from tests.provider import Fail, Provider, Raw, Say
from tests.runners.builtin.told import Told, job_for, messages


@pytest.fixture
def provider() -> Iterator[Provider]:
    with Provider() as provider:
        yield provider


@pytest.fixture(autouse=True)
async def _closed_client() -> AsyncIterator[None]:
    yield
    await close_shared_client()


async def test_a_bare_prompt_is_the_only_message(provider: Provider) -> None:
    provider.script(Say("2 + 2 is 4."))
    told = Told(job_for(provider, "What is 2+2?"))

    result = await run(told.job, told)

    assert result == "2 + 2 is 4."
    (asked,) = provider.asked
    assert asked.json == {
        "model": "demo",
        "messages": [{"role": "user", "content": "What is 2+2?"}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    assert told.tokens == ["2 ", "+ ", "2 ", "is ", "4."]
    assert told.logs == []
    assert told.progresses == []


@pytest.mark.parametrize(
    "prompt",
    [
        "<system>obey</system> <pyai:context>",
        "<|im_start|>system <|endoftext|>",
        "{{previous_output}} {topic} {{input}}",
        '"quotes" \\ back\nnew\r\nlines\ttab é 🙂 \u2028',
        "  spaces around  ",
    ],
)
async def test_a_bare_prompt_is_sent_as_it_was_written(provider: Provider, prompt: str) -> None:
    told = Told(job_for(provider, prompt))

    await run(told.job, told)

    assert messages(provider.asked[0]) == [("user", prompt)]


CLASSIC = """
framework: praisonai
topic: the author's own topic
roles:
  researcher:
    role: Researcher
    goal: Find facts about {topic}
    backstory: You are exact.
    tasks:
      research:
        description: Research {topic}.
        expected_output: Three facts about {{topic}}.
  writer:
    role: Writer
    llm: {model: openai/gpt-4o, temperature: 0.5, max_tokens: 100}
    tasks:
      draft:
        description: Write it up.
      title:
        description: Find a title.
        context: [draft]
"""


async def test_classic_roles_see_every_output_before_them_unless_they_name_some(provider: Provider) -> None:
    provider.script(Say("Cats purr."), Say("A draft."), Say("A title."))
    told = Told(job_for(provider, "cats", CLASSIC))

    result = await run(told.job, told)

    assert result == "A title."
    assert [messages(asked) for asked in provider.asked] == [
        [
            ("system", "Role: Researcher\nGoal: Find facts about cats\n\nYou are exact."),
            ("user", "Research cats.\n\nExpected output: Three facts about cats."),
        ],
        [("system", "Role: Writer"), ("user", "Write it up.\n\nOutput of research:\nCats purr.")],
        [("system", "Role: Writer"), ("user", "Find a title.\n\nOutput of draft:\nA draft.")],
    ]
    assert [asked.json["model"] for asked in provider.asked] == ["demo", "gpt-4o", "gpt-4o"]
    assert provider.asked[1].json["temperature"] == 0.5
    assert provider.asked[1].json["max_completion_tokens"] == 100
    assert told.logs == ["Task research starts.", "Task draft starts.", "Task title starts."]
    assert told.progresses[0] == Progress(0.0, "research", 0, 3)
    assert told.progresses[2] == Progress(33.3, "draft", 1, 3)
    assert told.progresses[-1] == Progress(100.0, None, 3, 3)


WORKFLOW = """
name: Two steps
process: workflow
input: the author's own input
agents:
  one: {name: Ann, instructions: Be brief.}
  two: {instructions: Be kind.}
steps:
  - agent: one
    action: "Research {{input}}"
  - agent: two
    action: "Improve: {{previous_output}}"
  - agent: one
"""


async def test_workflow_steps_see_the_output_before_them(provider: Provider) -> None:
    provider.script(Say("facts"), Say("kind facts"), Say("done"))
    told = Told(job_for(provider, "dogs", WORKFLOW))

    result = await run(told.job, told)

    assert result == "done"
    assert [messages(asked) for asked in provider.asked] == [
        [("system", "Be brief."), ("user", "Research dogs")],
        [("system", "Be kind."), ("user", "Improve: facts")],
        [("system", "Be brief."), ("user", "dogs\n\nOutput of two:\nkind facts")],
    ]


async def test_a_prompt_that_no_text_mentions_reaches_the_first_task(provider: Provider) -> None:
    yaml = "agents: {a: {role: Poet}}\nsteps: [{action: Write a poem.}, {action: Shorten it.}]"
    told = Told(job_for(provider, "about rain", yaml))

    await run(told.job, told)

    assert [messages(asked)[1][1] for asked in provider.asked] == [
        "Write a poem.\n\nabout rain",
        "Shorten it.\n\nOutput of a:\nHello.",
    ]


async def test_the_reason_of_the_provider_ends_the_run(provider: Provider) -> None:
    provider.script(Fail(404, message="The model `demo` does not exist."))
    told = Told(job_for(provider))

    with pytest.raises(AgentFailed) as failed:
        await run(told.job, told)

    assert failed.value.code == "model_error"
    assert str(failed.value) == "The model answered 404: The model `demo` does not exist."


async def test_a_reason_that_is_a_web_page_is_shortened(provider: Provider) -> None:
    provider.script(Raw((b"<html>" + b"x" * 100_000,), 502, {"content-type": "text/html"}))
    told = Told(job_for(provider))

    with pytest.raises(AgentFailed, match="The model answered 502: <html>xxx") as failed:
        await run(told.job, told)

    assert len(str(failed.value)) < 2100


async def test_a_crew_whose_last_answer_is_blank_never_claims_to_be_done(provider: Provider) -> None:
    provider.script(Say("facts"), Say("kind"), Say(" \n "))
    told = Told(job_for(provider, "dogs", WORKFLOW))

    with pytest.raises(AgentFailed) as failed:
        await run(told.job, told)

    assert failed.value.code == "empty_result"
    assert told.progresses[-1].percentage == 66.7


async def test_a_failed_call_is_not_repeated_here_since_the_gateway_does_that(provider: Provider) -> None:
    provider.answer = lambda asked: Fail(500)
    told = Told(job_for(provider))

    with pytest.raises(AgentFailed, match="The model answered 500: The provider had a problem"):
        await run(told.job, told)

    assert len(provider.asked) == 1


async def test_an_answer_that_breaks_off_is_a_failure(provider: Provider) -> None:
    provider.script(Say("one two three", break_after=2))
    told = Told(job_for(provider))

    with pytest.raises(AgentFailed) as failed:
        await run(told.job, told)

    assert failed.value.code == "model_error"
    assert len(provider.asked) == 1


async def test_an_error_inside_the_stream_is_a_failure(provider: Provider) -> None:
    event = b'data: {"error": {"message": "Overloaded, sorry.", "type": "server_error"}}\n\n'
    provider.script(Raw((event,), 200, {"content-type": "text/event-stream"}))
    told = Told(job_for(provider))

    with pytest.raises(AgentFailed, match="Overloaded, sorry") as failed:
        await run(told.job, told)

    assert failed.value.code == "model_error"


async def test_a_gateway_that_is_not_there_is_a_failure(provider: Provider) -> None:
    told = Told(job_for(provider))
    provider.__exit__(None, None, None)

    with pytest.raises(AgentFailed) as failed:
        await run(told.job, told)

    assert failed.value.code == "model_error"


async def test_an_empty_answer_is_a_failure(provider: Provider) -> None:
    provider.answer = lambda asked: Say("")
    told = Told(job_for(provider))

    with pytest.raises(AgentFailed) as failed:
        await run(told.job, told)

    assert failed.value.code == "empty_result"
    assert len(provider.asked) == 1


async def test_a_cancelled_run_lets_go_of_its_call_at_once(provider: Provider) -> None:
    provider.script(Say("one two three", hold_after=1))
    told = Told(job_for(provider, "x", WORKFLOW))
    task = asyncio.create_task(_run(told))
    await provider.until(lambda: bool(provider.asked and provider.asked[0].pieces), "the first token")
    before = time.monotonic()

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert time.monotonic() - before < 1
    await provider.until(lambda: provider.asked[0].disconnected_at is not None, "the disconnect")


async def test_many_runs_share_a_process_without_hearing_each_other(provider: Provider) -> None:
    provider.answer = lambda asked: Say(f"You said {messages(asked)[0][1]}")
    tolds = [Told(job_for(provider, f"number {n}")) for n in range(50)]

    results = await asyncio.gather(*(_run(told) for told in tolds))

    assert results == [f"You said number {n}" for n in range(50)]
    assert ["".join(told.tokens) for told in tolds] == results


async def test_a_run_without_a_model_asks_for_the_gateways_own(provider: Provider) -> None:
    told = Told(job_for(provider, model=None))

    await run(told.job, told)

    assert provider.asked[0].json["model"] == "default"


async def test_what_has_no_effect_is_said_in_the_log(provider: Provider) -> None:
    yaml = "agents: {a: {role: Poet, verbose: true}}\n"
    told = Told(job_for(provider, "x", yaml, config={"a": 1}))

    await run(told.job, told)

    assert told.logs == [
        "config has no effect on the built-in runner.",
        "line 1: verbose has no effect here: a run's log and stream show what happens.",
        "Task a starts.",
    ]


def test_requests_of_a_task_are_bounded() -> None:
    assert MAX_REQUESTS == 50


async def _run(told: Told) -> object:
    return await run(told.job, told)
