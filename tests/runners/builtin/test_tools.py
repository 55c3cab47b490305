"""Tools of an attempt: the operator's functions and MCP servers, their failures and their ends."""

import asyncio
import hashlib
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from outlast.config import McpServer
from outlast.runners.builtin.body import run
from outlast.runners.builtin.model import close_shared_client
from outlast.runners.protocol import AgentFailed
from tests.provider import Provider, Say
from tests.runners.builtin.told import Told, job_for, messages

TOOLS = '''
import threading
import word_list
from outlast import tool

def double(number: int) -> int:
    """Twice the number.

    Args:
        number: What to double.
    """
    assert threading.current_thread() is not threading.main_thread()
    return number * word_list.TWO

async def explode(word: str) -> str:
    """Goes wrong."""
    raise ValueError(f"no {word} here")

@tool(effect="once")
def pay(euros: int, idempotency_key: str) -> str:
    """Pays.

    Args:
        euros: How much.
    """
    return f"{euros} {idempotency_key[:6]}"

def leave() -> None:
    """Ends the process, it thinks."""
    raise SystemExit(3)
'''


@pytest.fixture
def provider() -> Iterator[Provider]:
    with Provider() as provider:
        yield provider


@pytest.fixture(autouse=True)
async def _closed_client() -> AsyncIterator[None]:
    yield
    await close_shared_client()


@pytest.fixture
def agent_root(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "tools.py").write_text(TOOLS)
    (tmp_path / "word_list.py").write_text("TWO = 2\n")
    path = list(sys.path)
    yield tmp_path
    sys.path[:] = path
    for name in ("tools", "word_list"):
        sys.modules.pop(name, None)


def _hash(root: Path) -> str:
    return hashlib.sha256((root / "tools.py").read_bytes()).hexdigest()


def _yaml(*tools: str) -> str:
    return f"agents: {{a: {{instructions: Use tools., tools: [{', '.join(tools)}]}}}}"


async def test_a_function_of_tools_py_is_offered_and_called(provider: Provider, agent_root: Path) -> None:
    provider.script(Say(tool="double", arguments='{"number": 21}'), Say("It is 42."))
    told = Told(job_for(provider, "?", _yaml("double"), tools_hash=_hash(agent_root), agent_root=agent_root))

    result = await run(told.job, told)

    assert result == "It is 42."
    first, second = provider.asked
    assert first.json["tools"] == [
        {
            "type": "function",
            "function": {
                "name": "double",
                "description": "Twice the number.",
                "parameters": {
                    "additionalProperties": False,
                    "properties": {"number": {"description": "What to double.", "type": "integer"}},
                    "required": ["number"],
                    "type": "object",
                },
                "strict": True,
            },
        }
    ]
    assert messages(second)[-1] == ("tool", "42")
    assert told.logs == ["Task a starts.", "Tool double is called."]


@pytest.mark.parametrize(
    ("tool", "arguments", "what"),
    [("explode", '{"word": "luck"}', "ValueError: no luck here"), ("leave", "{}", "SystemExit: 3")],
)
async def test_a_tool_that_fails_is_told_to_the_model_and_the_log(
    provider: Provider, agent_root: Path, tool: str, arguments: str, what: str
) -> None:
    provider.script(Say(tool=tool, arguments=arguments), Say("Never mind."))
    told = Told(job_for(provider, "?", _yaml(tool), tools_hash=_hash(agent_root), agent_root=agent_root))

    assert await run(told.job, told) == "Never mind."

    assert messages(provider.asked[1])[-1] == ("tool", f'{{"error":"{what}"}}')
    assert told.logs[1:] == [f"Tool {tool} is called.", f"Tool {tool} failed: {what}"]


async def test_a_tool_of_ours_keeps_its_idempotency_key_from_the_model(
    provider: Provider, agent_root: Path
) -> None:
    provider.script(Say(tool="pay", arguments='{"euros": 5}'), Say("Paid."))
    told = Told(
        job_for(provider, "?", _yaml("double", "pay"), tools_hash=_hash(agent_root), agent_root=agent_root)
    )

    assert await run(told.job, told) == "Paid."

    first, second = provider.asked
    tools = first.json["tools"]
    assert isinstance(tools, list)
    offered = {one["function"]["name"]: one["function"]["parameters"] for one in tools}
    assert set(offered) == {"double", "pay"}
    assert offered["pay"]["properties"] == {"euros": {"description": "How much.", "type": "integer"}}
    assert messages(second)[-1] == ("tool", "5 local_")


async def test_a_task_that_never_ends_is_ended(provider: Provider, agent_root: Path) -> None:
    provider.answer = lambda asked: Say(tool="double", arguments='{"number": 1}')
    told = Told(job_for(provider, "?", _yaml("double"), tools_hash=_hash(agent_root), agent_root=agent_root))

    with pytest.raises(AgentFailed) as failed:
        await run(told.job, told)

    assert failed.value.code == "usage_limit"
    assert len(provider.asked) == 50


async def test_tools_that_changed_since_the_submit_are_not_run(provider: Provider, agent_root: Path) -> None:
    job = job_for(provider, "?", _yaml("double"), tools_hash=_hash(agent_root), agent_root=agent_root)
    (agent_root / "tools.py").write_text("raise AssertionError('imported')")
    told = Told(job)

    with pytest.raises(AgentFailed) as failed:
        await run(told.job, told)

    assert failed.value.code == "tools_changed"
    assert provider.asked == []


async def test_a_tools_py_that_cannot_be_imported_says_why(provider: Provider, agent_root: Path) -> None:
    (agent_root / "tools.py").write_text("import nothing_of_the_kind\ndef double(): ...\n")
    told = Told(job_for(provider, "?", _yaml("double"), tools_hash=_hash(agent_root), agent_root=agent_root))

    with pytest.raises(AgentFailed, match="No module named 'nothing_of_the_kind'") as failed:
        await run(told.job, told)

    assert failed.value.code == "tools_broken"


MCP_SERVER = '''
import os, pathlib
from mcp.server.mcpserver import MCPServer

pathlib.Path("server.pid").write_text(str(os.getpid()))
server = MCPServer("clock")

@server.tool()
def tell_time(city: str) -> str:
    """The time in a city."""
    if city == "Atlantis":
        raise ValueError("it sank")
    return f"noon in {city}, {os.environ['MARK']}"

server.run()
'''


@pytest.fixture
def clock(agent_root: Path, monkeypatch: pytest.MonkeyPatch) -> McpServer:
    monkeypatch.setenv("MARK", "marked")
    (agent_root / "clock.py").write_text(MCP_SERVER)
    return McpServer(command=sys.executable, args=("clock.py",), env={"A": "b"})


@pytest.mark.slow
async def test_an_mcp_server_lives_as_long_as_its_attempt(
    provider: Provider, agent_root: Path, clock: McpServer
) -> None:
    provider.script(
        Say(tool="tell_time", arguments='{"city": "Rome"}'),
        Say(tool="tell_time", arguments='{"city": "Atlantis"}'),
        Say("Noon."),
    )
    told = Told(
        job_for(
            provider,
            "?",
            "agents: {a: {role: Clock}}\nmcp: [clock]",
            mcp={"clock": clock},
            agent_root=agent_root,
        )
    )

    assert await run(told.job, told) == "Noon."

    assert messages(provider.asked[1])[-1] == ("tool", "noon in Rome, marked")
    assert messages(provider.asked[2])[-1] == ("tool", '{"error":"Error executing tool tell_time"}')
    assert told.logs[-1] == "Tool tell_time failed: Error executing tool tell_time"
    await provider.until(lambda: not _is_alive(agent_root), "the MCP server to end")


@pytest.mark.slow
async def test_an_mcp_server_ends_with_a_cancelled_attempt(
    provider: Provider, agent_root: Path, clock: McpServer
) -> None:
    provider.script(Say("one two", hold_after=1))
    yaml = "agents: {a: {role: Clock, mcp: [clock]}}"
    told = Told(job_for(provider, "?", yaml, mcp={"clock": clock}, agent_root=agent_root))

    async def attempt() -> object:
        return await run(told.job, told)

    task = asyncio.create_task(attempt())
    await provider.until(lambda: bool(provider.asked), "the call", 30)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    await provider.until(lambda: not _is_alive(agent_root), "the MCP server to end")


HTTP_SERVER = """
import socket, uvicorn
from mcp.server.mcpserver import MCPServer

server = MCPServer("words")

@server.tool()
def shout(word: str) -> str:
    return word.upper()

listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
app = server.streamable_http_app()
uvicorn.Server(uvicorn.Config(app, log_config=None)).run(sockets=[listener])
"""


@pytest.fixture
def words() -> Iterator[McpServer]:
    with subprocess.Popen([sys.executable, "-c", HTTP_SERVER], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        yield McpServer(url=f"http://127.0.0.1:{port}/mcp")
        process.kill()


@pytest.mark.slow
async def test_an_mcp_server_may_be_reached_by_http(
    provider: Provider, agent_root: Path, words: McpServer
) -> None:
    provider.script(Say(tool="shout", arguments='{"word": "hey"}'), Say("HEY it is."))
    yaml = "agents: {a: {role: Shouter, mcp: [words]}}"
    told = Told(job_for(provider, "?", yaml, mcp={"words": words}, agent_root=agent_root))

    assert await run(told.job, told) == "HEY it is."

    assert messages(provider.asked[1])[-1] == ("tool", "HEY")


@pytest.mark.slow
@pytest.mark.parametrize("command", ["/nowhere/at/all", "true"])
async def test_an_mcp_server_that_does_not_start_is_named(
    provider: Provider, agent_root: Path, command: str
) -> None:
    servers = {"clock": McpServer(command=command)}
    told = Told(job_for(provider, "?", "agents: {a: {mcp: clock}}", mcp=servers, agent_root=agent_root))

    with pytest.raises(AgentFailed, match="MCP server clock did not start") as failed:
        await run(told.job, told)

    assert failed.value.code == "mcp_unavailable"


def _is_alive(root: Path) -> bool:
    try:
        os.kill(int((root / "server.pid").read_text()), 0)
    except ProcessLookupError:
        return False
    return True
