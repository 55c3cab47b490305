"""The agents that the operator has named in outlast.toml, as a submit asks for them."""

from outlast.config import AgentConfig, Settings
from outlast.errors import UnknownAgent, did_you_mean, quoted
from outlast.runners.protocol import Submission


def kind_of(name: str, settings: Settings) -> str:
    """Whether the agent is a function or a command: the runner it needs; `UnknownAgent` if it is neither."""
    if name not in settings.agents:
        hint = (
            did_you_mean(name, settings.agents)
            or "This server has none; the operator adds [agents.NAME] to outlast.toml."
        )
        raise UnknownAgent(f"There is no agent {quoted(name)} here. {hint}")
    return "function" if settings.agents[name].function is not None else "command"


def named(submission: Submission, settings: Settings, kind: str) -> tuple[str, AgentConfig]:
    """The agent of this kind that the submission asks for; `UnknownAgent` says which there are."""
    name = submission.agent
    if name is None:
        raise UnknownAgent(f"Framework {kind} needs an agent: {_choice(settings, kind)}")
    kind_of(name, settings)
    return name, settings.agents[name]


def _choice(settings: Settings, kind: str) -> str:
    names = sorted(name for name in settings.agents if kind_of(name, settings) == kind)
    if not names:
        return "this server has none; the operator adds [agents.NAME] to outlast.toml."
    return f"send one of {', '.join(names)} as `agent`."
