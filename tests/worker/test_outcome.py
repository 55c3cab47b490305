"""What is said of an agent that raised: in its own terms, not in ours."""

import json

import pytest

from outlast.runners import function_body
from outlast.runners.protocol import Failed, Job, RunFunction
from outlast.runs import RunRequest
from outlast.worker.outcome import broken, carry
from tests.runners.test_function import Seen


def fails(prompt: str) -> None:
    raise ValueError("no such file")


async def fails_on_the_loop(prompt: str) -> None:
    fails(prompt)


def fails_in_a_library(prompt: str) -> None:
    json.loads("{")


def fails_because(prompt: str) -> None:
    try:
        fails(prompt)
    except ValueError as error:
        raise TypeError from error


async def _trace(name: str) -> list[str]:
    """The lines of what the log says of this agent's end."""

    async def load() -> RunFunction:
        return function_body.run

    request = RunRequest(prompt="Hello", runner="function", function=f"{__name__}:{name}")
    job = Job(run_id="run_1", attempt_id="att_1", attempt=1, request=request)
    seen = Seen(job)
    assert isinstance(await carry(job, load, seen), Failed)
    (trace,) = seen.logged
    return trace.splitlines()


@pytest.mark.parametrize("name", ["fails", "fails_on_the_loop", "fails_in_a_library", "fails_because"])
async def test_a_traceback_begins_with_the_agents_own_code(name: str) -> None:
    trace = await _trace(name)

    begins = [trace[n + 1] for n, line in enumerate(trace) if line.startswith("Traceback")]
    assert begins
    assert all(f'File "{__file__}"' in line for line in begins)
    assert "/outlast/" not in "".join(trace).replace(__file__, "")


async def test_what_happens_below_the_agents_code_is_shown_whole() -> None:
    trace = await _trace("fails_in_a_library")

    assert any("json/decoder.py" in line for line in trace)


async def test_a_fault_of_ours_is_shown_whole() -> None:
    async def load() -> RunFunction:
        raise ValueError("ours")

    job = Job(run_id="run_1", attempt_id="att_1", attempt=1, request=RunRequest(prompt="Hello", runner="x"))
    seen = Seen(job)

    await carry(job, load, seen)

    assert "outcome.py" in seen.logged[0]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ValueError("no such file"), "ValueError: no such file"),
        (KeyboardInterrupt(), "The agent raised KeyboardInterrupt, without a message."),
        (ValueError("  "), "The agent raised ValueError, without a message."),
    ],
)
def test_an_error_without_a_message_is_named_in_a_sentence(error: BaseException, said: str) -> None:
    assert broken("att_1", error).message == said
