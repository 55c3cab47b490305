"""Which runner runs what: from a submission to what will be run, settled at submit and never again."""

from collections.abc import Sequence
from functools import lru_cache

import msgspec

from outlast.config import Settings
from outlast.errors import FrameworkNotInstalled, InvalidBody, UnknownFramework, did_you_mean, quoted
from outlast.runners import agent_file, agents, command, echo, function
from outlast.runners.builtin import front as builtin
from outlast.runners.protocol import Prepared, Runner, Submission

DEFAULT_FRAMEWORK = "praisonai"
BUILT_IN = (builtin.RUNNER, function.RUNNER, command.RUNNER, echo.RUNNER)
"""The runners that are always there."""
INSTALLABLE = (
    "ag2", "agno", "autogen", "crewai", "google-adk", "langgraph", "llamaindex", "openai-agents", "praisonai",
    "praisonaiagents", "pydantic-ai", "smolagents",
)  # fmt: skip
"""Frameworks that a runner can be added for with `outlast runner add`."""
WITHOUT_YAML = frozenset({"command", "echo", "function"})
"""Runners that an agents.yaml says nothing to."""


class Registry:
    """The runners of this server, by name."""

    def __init__(self, settings: Settings, runners: Sequence[Runner] = BUILT_IN) -> None:
        root = settings.agent_root.resolve()
        self._settings = msgspec.structs.replace(settings, agent_root=root)
        self.runners = {runner.name: runner for runner in runners}

    def resolve(self, submission: Submission) -> Prepared:
        """What will run, and where: framework, agent file, runner and all it depends on.

        Raises the `BadRequest` that names what is wrong; touches nothing but files below the agent root.
        """
        name = _normal(submission.framework)
        if submission.agent is not None:
            name = self._kind_of(submission.agent, submission, name)
        text = self._agent_yaml(submission, name)
        framework = name or _normal(text and agent_file.framework_in(text)) or DEFAULT_FRAMEWORK
        asked = msgspec.structs.replace(submission, framework=framework, agent_yaml=text)
        return self._runner(framework).prepare(asked, self._settings)

    def _kind_of(self, agent: str, submission: Submission, framework: str | None) -> str:
        """What runs the agent of this name; refuses what would be left unread beside it."""
        kind = agents.kind_of(agent, self._settings)
        if framework not in (None, kind):
            raise InvalidBody(
                f"agent {quoted(agent)} is a {kind} of this server; framework {quoted(framework or '')} cannot "
                "run it. Leave framework out."
            )
        for field in ("agent_yaml", "agent_file"):
            if getattr(submission, field) is not None:
                raise InvalidBody(
                    f"agent {quoted(agent)} is a {kind} of this server, to which {field} says nothing. "
                    f"Send agent or {field}, not both."
                )
        return kind

    def reads_yaml(self, submission: Submission) -> bool:
        """Whether `resolve` will have an agents.yaml to read; cheap."""
        if submission.agent_yaml is not None or submission.agent_file is not None:
            return True
        plain = submission.agent is not None or _normal(submission.framework) in WITHOUT_YAML
        return not plain and agent_file.has_default(self._settings.agent_root)

    def _agent_yaml(self, submission: Submission, framework: str | None) -> str | None:
        """The text of the agents.yaml this run is about: sent along, named, or the agent root's own."""
        root = self._settings.agent_root
        if submission.agent_yaml is not None:
            return submission.agent_yaml
        if submission.agent_file is not None:
            return agent_file.read(root, submission.agent_file)
        return None if framework in WITHOUT_YAML else agent_file.read_default(root)

    def _runner(self, framework: str) -> Runner:
        runner = self.runners.get(framework)
        if runner is None and framework == DEFAULT_FRAMEWORK:
            runner = self.runners.get("builtin")
        if runner is not None:
            return runner
        if framework in INSTALLABLE:
            raise FrameworkNotInstalled(
                f"Framework {framework} is known, but its runner is not installed here: "
                f"`outlast runner add {framework}` will install it in a later release. "
                "Leave framework out, and the built-in runner takes the run."
            )
        known = sorted({*self.runners, *INSTALLABLE})
        raise UnknownFramework(f"There is no framework {quoted(framework)}. {did_you_mean(framework, known)}")


@lru_cache(maxsize=256)
def _normal(framework: str | None) -> str | None:
    return framework.strip().lower().replace("_", "-") if framework else None
