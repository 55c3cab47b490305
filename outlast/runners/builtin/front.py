"""The built-in runner's first face: what may run, and where. Runs in the server, so it never imports Pydantic AI."""

import importlib.metadata

import outlast
from outlast.config import Settings
from outlast.errors import InvalidAgentYaml
from outlast.runners.builtin import tools_file
from outlast.runners.builtin.agents_yaml import parse
from outlast.runners.builtin.crew import Crew, Named
from outlast.runners.builtin.fields import nearest
from outlast.runners.protocol import Prepared, Runner, Submission
from outlast.runs import Isolation, RunRequest

VERSION = f"{outlast.__version__} on pydantic-ai {importlib.metadata.version('pydantic-ai-slim')}"


def prepare(submission: Submission, settings: Settings) -> Prepared:
    """A bare prompt, or the crew of the submission's agents.yaml; an `InvalidAgentYaml` where that cannot run here."""
    if submission.agent_yaml is None:
        return Prepared(_request(submission, settings), Isolation.SHARED)
    source = submission.agent_file or "agents.yaml"
    crew = parse(submission.agent_yaml, source)
    tools_hash = _tools_hash(crew, source, settings) if crew.tools else None
    request = _request(submission, settings, tools_hash=tools_hash, mcp=_servers(crew, source, settings))
    foreign = request.tools_hash is not None or bool(request.mcp)
    return Prepared(request, Isolation.ISOLATED if foreign else Isolation.SHARED)


def _request(
    submission: Submission, settings: Settings, *, tools_hash: str | None = None, mcp: tuple[str, ...] = ()
) -> RunRequest:
    return RunRequest(
        prompt=submission.prompt,
        runner=RUNNER.name,
        runner_version=RUNNER.version,
        framework=submission.framework or "praisonai",
        agent=submission.agent,
        agent_file=submission.agent_file,
        agent_yaml=submission.agent_yaml,
        model=settings.model,
        tools_hash=tools_hash,
        mcp=mcp,
        config=submission.config,
        session_id=submission.session_id,
        metadata=submission.metadata,
    )


def _tools_hash(crew: Crew, source: str, settings: Settings) -> str:
    first = crew.tools[0]
    if not settings.allow_tools:
        raise _fault(
            source,
            first,
            f"tool {first.name} is not available: this server lets no agents.yaml use tools. Its operator can allow "
            "the functions of tools.py with OUTLAST_ALLOW_TOOLS=true.",
        )
    found = _load(first, source, settings)
    for tool in crew.tools:
        if tool.name not in found.names:
            what = f"tool {tool.name} is not a function of this server's tools.py, where its operator can define it."
            raise _fault(source, tool, what + nearest(tool.name, found.names))
    return found.hash


def _load(first: Named, source: str, settings: Settings) -> tools_file.ToolsFile:
    try:
        found = tools_file.load(settings.agent_root)
    except (OSError, SyntaxError, ValueError) as error:
        raise _fault(
            source, first, f"tool {first.name} is not available: tools.py is broken: {error}."
        ) from error
    if found is None:
        raise _fault(
            source,
            first,
            f"tool {first.name} is not available: there is no tools.py under this server's agent root.",
        )
    return found


def _servers(crew: Crew, source: str, settings: Settings) -> tuple[str, ...]:
    for server in crew.mcp:
        if server.name not in settings.mcp:
            hint = nearest(server.name, settings.mcp)
            raise _fault(
                source,
                server,
                f"MCP server {server.name} is not set up on this server.{hint} "
                f"Its operator can add it to outlast.toml as [mcp.{server.name}].",
            )
    return tuple(dict.fromkeys(server.name for server in crew.mcp))


def _fault(source: str, named: Named, sentence: str) -> InvalidAgentYaml:
    return InvalidAgentYaml(f"{source} line {named.line}: {sentence}")


RUNNER = Runner(
    name="builtin",
    version=VERSION,
    prepare=prepare,
    entry="outlast.runners.builtin.body:run",
    preload=("outlast.runners.builtin.body",),
)
