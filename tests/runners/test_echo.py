"""The runner that needs nothing."""

from outlast.config import Settings
from outlast.runners import echo
from outlast.runners.protocol import Job, Submission
from outlast.runs import Isolation
from tests.runners.test_function import Seen


async def test_echo_answers_with_the_prompt() -> None:
    prepared = echo.prepare(Submission(prompt="Hello", metadata={"x": 1}), Settings())
    job = Job(run_id="run_1", attempt_id="at_1", attempt=1, request=prepared.request)

    assert prepared.kind is Isolation.SHARED
    assert await echo.run(job, Seen(job)) == "Hello"
    assert not echo.RUNNER.needs_model
