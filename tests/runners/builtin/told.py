"""A runner's context that remembers what it was told, and jobs for the scripted provider."""

from pathlib import Path

from outlast.config import McpServer
from outlast.runners.protocol import Job
from outlast.runs import Progress, RunRequest
from tests.provider import Asked, Provider


class Told:
    """What a run told its process, in order."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.logs: list[str] = []
        self.progresses: list[Progress] = []
        self.tokens: list[str] = []

    def log(self, message: str) -> None:
        self.logs.append(message)

    def progress(self, progress: Progress) -> None:
        self.progresses.append(progress)

    def token(self, text: str) -> None:
        self.tokens.append(text)


def job_for(
    provider: Provider,
    prompt: str = "What is 2+2?",
    yaml: str | None = None,
    *,
    model: str | None = "demo",
    tools_hash: str | None = None,
    mcp: dict[str, McpServer] | None = None,
    agent_root: Path = Path(),
    config: dict[str, object] | None = None,
) -> Job:
    """An attempt whose gateway is the provider itself."""
    servers = mcp or {}
    request = RunRequest(
        prompt=prompt,
        runner="builtin",
        agent_yaml=yaml,
        model=model,
        tools_hash=tools_hash,
        mcp=tuple(servers),
        config=config,
    )
    return Job(
        run_id="run_1",
        attempt_id="att_1",
        attempt=1,
        request=request,
        base_url=provider.base_url,
        token=provider.key,
        agent_root=str(agent_root),
        mcp=servers,
    )


def messages(asked: Asked) -> list[tuple[str, str]]:
    """Who says what in a request."""
    said = asked.json["messages"]
    assert isinstance(said, list)
    return [(message["role"], message.get("content") or "") for message in said]
