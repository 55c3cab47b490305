"""What becomes of what an agent returns, in a process of its own and in a shared host alike."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from outlast.runs import Isolation, RunState
from tests.worker.conftest import Bench, at_work, settings_in

pytestmark = pytest.mark.asyncio(loop_scope="module")
KINDS = pytest.mark.parametrize("kind", list(Isolation))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bench(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Bench]:
    """One worker for all: what one run returns is no business of the next."""
    async with at_work(settings_in(tmp_path_factory.mktemp("results"))) as bench:
        yield bench


@KINDS
@pytest.mark.parametrize(
    ("prompt", "result"),
    [
        ("surrogate", {"lone\ufffd": ["\ufffd", "pair 😀"]}),
        ("nan", [None, None, 1.5]),
        ("bytes", "YWI="),
        ("nested", {"a": [1, {"b": None}], "é": "ü\u0000\n\"'"}),
        ("zero", 0),
        ("big", "ü" * (5 * 1024 * 1024)),
    ],
)
async def test_any_json_value_is_a_result(bench: Bench, kind: Isolation, prompt: str, result: object) -> None:
    assert await bench.result("gives", prompt, kind=kind) == result


@KINDS
@pytest.mark.parametrize(
    ("prompt", "code"),
    [
        ("none", "empty_result"),
        ("blank", "empty_result"),
        ("object", "result_not_json"),
        ("deep", "result_not_json"),
        ("huge", "result_too_large"),
    ],
)
async def test_what_is_no_result_fails_the_run(bench: Bench, kind: Isolation, prompt: str, code: str) -> None:
    run = await bench.ended(await bench.submit("gives", prompt, kind=kind))

    assert run.state is RunState.FAILED
    assert run.error is not None
    assert run.error.code == code


async def test_an_empty_result_tells_the_models_last_failure(bench: Bench) -> None:
    bench.access.why = "the provider answered 401"

    run = await bench.ended(await bench.submit("gives", "none"))

    assert run.error is not None
    assert (
        run.error.message
        == "The agent returned nothing. Its last model call failed: the provider answered 401"
    )
