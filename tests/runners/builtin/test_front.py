"""What the server settles at submit: what runs, where, and what it refuses."""

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from outlast.config import McpServer, Settings
from outlast.errors import InvalidAgentYaml
from outlast.runners.builtin.front import RUNNER
from outlast.runners.protocol import Submission
from outlast.runs import Isolation

TOOLS = """
from subprocess import run
import os
LIMIT = 3
def search(query: str) -> str: ...
async def look_up(query: str) -> str: ...
def _hidden() -> None: ...
class Old: ...
"""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "tools.py").write_text(TOOLS)
    return Settings(
        agent_root=tmp_path, allow_tools=True, model="demo", mcp={"clock": McpServer(command="clock")}
    )


def _yaml(more: str) -> Submission:
    return Submission(prompt="x", agent_file="crew.yaml", agent_yaml=f"agents:\n  a:\n    role: A\n{more}")


def test_a_bare_prompt_runs_in_a_shared_host(settings: Settings) -> None:
    prepared = RUNNER.prepare(Submission(prompt="Hi", session_id="s", metadata={"a": 1}), settings)

    assert prepared.kind is Isolation.SHARED
    request = prepared.request
    assert (request.prompt, request.runner, request.framework, request.model) == (
        "Hi",
        "builtin",
        "praisonai",
        "demo",
    )
    assert (request.session_id, request.metadata, request.agent_yaml) == ("s", {"a": 1}, None)
    assert "pydantic-ai" in request.runner_version


def test_a_crew_without_tools_runs_in_a_shared_host(settings: Settings) -> None:
    prepared = RUNNER.prepare(_yaml(""), settings)

    assert prepared.kind is Isolation.SHARED
    assert prepared.request.agent_yaml is not None
    assert (prepared.request.tools_hash, prepared.request.mcp) == (None, ())


def test_tools_fix_their_file_and_run_in_a_process_of_their_own(settings: Settings) -> None:
    prepared = RUNNER.prepare(_yaml("    tools: [search, look_up]"), settings)

    assert prepared.kind is Isolation.ISOLATED
    assert prepared.request.tools_hash == hashlib.sha256(TOOLS.encode()).hexdigest()


def test_mcp_servers_run_in_a_process_of_their_own(settings: Settings) -> None:
    prepared = RUNNER.prepare(_yaml("    mcp: [clock]"), settings)

    assert prepared.kind is Isolation.ISOLATED
    assert prepared.request.mcp == ("clock",)


@pytest.mark.parametrize("name", ["run", "os", "LIMIT", "_hidden", "Old", "searc"])
def test_only_functions_that_tools_py_defines_may_be_named(settings: Settings, name: str) -> None:
    with pytest.raises(
        InvalidAgentYaml, match=f"crew.yaml line 4: tool {name} is not a function of this server's"
    ):
        RUNNER.prepare(_yaml(f"    tools: [{name}]"), settings)


def test_with_all_in_tools_py_exactly_those_names_may_be_named(settings: Settings) -> None:
    source = "from elsewhere import find\n__all__ = ['find']\ndef search(): ...\n"
    (settings.agent_root / "tools.py").write_text(source)

    assert RUNNER.prepare(_yaml("    tools: [find]"), settings).kind is Isolation.ISOLATED
    with pytest.raises(InvalidAgentYaml):
        RUNNER.prepare(_yaml("    tools: [search]"), settings)


def test_tools_are_refused_unless_the_operator_allows_them(settings: Settings) -> None:
    closed = Settings(agent_root=settings.agent_root)

    with pytest.raises(
        InvalidAgentYaml, match=r"line 4: tool search is not available: .*OUTLAST_ALLOW_TOOLS=true"
    ):
        RUNNER.prepare(_yaml("    tools: [search]"), closed)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (None, "there is no tools.py"),
        ("def (", "tools.py is broken: invalid syntax"),
        ("\0", "tools.py is broken"),
    ],
)
def test_a_tools_py_that_cannot_be_read_is_named(settings: Settings, source: str | None, reason: str) -> None:
    file = settings.agent_root / "tools.py"
    file.unlink()
    if source is not None:
        file.write_text(source)

    with pytest.raises(InvalidAgentYaml, match=f"line 4: tool search is not available: {reason}"):
        RUNNER.prepare(_yaml("    tools: [search]"), settings)


def test_an_mcp_server_that_is_not_set_up_is_refused(settings: Settings) -> None:
    with pytest.raises(InvalidAgentYaml) as refused:
        RUNNER.prepare(_yaml("mcp: [clok]"), settings)

    assert str(refused.value) == (
        "crew.yaml line 4: MCP server clok is not set up on this server. Did you mean clock? "
        "Its operator can add it to outlast.toml as [mcp.clok]."
    )


def test_an_mcp_command_of_a_client_is_refused(settings: Settings) -> None:
    with pytest.raises(InvalidAgentYaml, match="MCP server fs has command, which does not work here"):
        RUNNER.prepare(_yaml("mcp: {servers: {fs: {command: rm, args: [-rf]}}}"), settings)


def test_the_server_never_imports_the_agent_library() -> None:
    code = "import sys, outlast.runners.builtin.front; print('pydantic_ai' in sys.modules, 'openai' in sys.modules)"

    shown = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )

    assert shown.stdout.split() == ["False", "False"]
