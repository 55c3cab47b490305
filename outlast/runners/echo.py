"""The `echo` runner: answers with the prompt, at once. For load tests, and to see that the pipe works."""

from outlast import __version__
from outlast.config import Settings
from outlast.runners.protocol import Context, Job, Prepared, Runner, Submission
from outlast.runs import Isolation, RunRequest


def prepare(submission: Submission, settings: Settings) -> Prepared:
    request = RunRequest(
        prompt=submission.prompt,
        runner="echo",
        runner_version=__version__,
        framework="echo",
        config=submission.config,
        session_id=submission.session_id,
        metadata=submission.metadata,
    )
    return Prepared(request, Isolation.SHARED)


async def run(job: Job, context: Context) -> object:
    return job.request.prompt


RUNNER = Runner(
    name="echo",
    version=__version__,
    prepare=prepare,
    entry="outlast.runners.echo:run",
    needs_model=False,
)
