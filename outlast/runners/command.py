"""The `command` runner's server face: an agent that is a program of the operator's, named in outlast.toml.

No client ever names a program or an argument: what runs is the operator's line, as it stood at the submit.
"""

import os
import shutil
from pathlib import Path

from outlast import __version__
from outlast.config import Settings
from outlast.errors import UnknownAgent
from outlast.runners.agents import named
from outlast.runners.protocol import Prepared, Runner, Submission
from outlast.runs import Isolation, Program, RunRequest


def prepare(submission: Submission, settings: Settings) -> Prepared:
    """Fix the line that the run starts; `UnknownAgent` if there is none, or no such program."""
    name, agent = named(submission, settings, "command")
    assert agent.command is not None
    _check(name, agent.command[0], agent.env.get("PATH"), settings.agent_root)
    request = RunRequest(
        prompt=submission.prompt,
        runner="command",
        runner_version=__version__,
        framework="command",
        agent=name,
        program=Program(tuple(os.fsencode(word) for word in agent.command)),
        config=submission.config,
        session_id=submission.session_id,
        metadata=submission.metadata,
    )
    return Prepared(request, Isolation.ISOLATED)


RUNNER = Runner(
    name="command",
    version=__version__,
    prepare=prepare,
    entry="outlast.worker.program:run",
    needs_model=False,
)


def _check(name: str, program: str, path: str | None, root: Path) -> None:
    """A program with a slash in its name is found from the agent root, any other on the PATH."""
    sought = str(root / program) if "/" in program else program
    if shutil.which(sought, path=path) is None:
        raise UnknownAgent(f"Agent {name} is to start {program!r}, and there is no such program here.")
