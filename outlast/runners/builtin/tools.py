"""What a crew's agents may use, in the agent process: functions of the operator's tools.py, and MCP servers.

Both live within the attempt. A tool that fails does not fail the run: the log and the model are told what happened,
and the model goes on from there; how often it may try is bounded by the requests of a task.
"""

import asyncio
import importlib
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic_ai import ModelRetry, RunContext, ToolFailed
from pydantic_ai.toolsets import AbstractToolset, FunctionToolset, WrapperToolset
from pydantic_ai.toolsets.abstract import ToolsetTool

from outlast.config import McpServer
from outlast.durable import Steps
from outlast.runners.builtin import tools_file
from outlast.runners.builtin.crew import Agent
from outlast.runners.builtin.done_tools import Journalled, is_step
from outlast.runners.protocol import AgentFailed, Job

INIT_TIMEOUT_S = 60.0
"""For an MCP server to answer for the first time: `npx` and `uvx` may fetch it first."""

ToolFunction = Callable[..., object]


class Toolbox:
    """The tools of one run: opened before its first task, closed after its last, whatever happened in between."""

    def __init__(self, job: Job, log: Callable[[str], None]) -> None:
        self._job = job
        self._log = log
        self._functions: dict[str, ToolFunction] = {}
        self._servers: dict[str, AbstractToolset[object]] = {}
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> "Toolbox":
        try:
            if self._job.request.tools_hash is not None:
                self._functions = await asyncio.to_thread(_functions, self._job)
            for name in self._job.request.mcp:
                self._servers[name] = await self._open(name)
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._stack.aclose()

    def of(self, agent: Agent) -> Sequence[AbstractToolset[object]]:
        """What one agent may use."""
        toolsets = [self._servers[name] for name in agent.mcp]
        functions = [self._function(name) for name in agent.tools]
        if any(not is_step(function) for function in functions):
            toolsets.append(FunctionToolset([it for it in functions if not is_step(it)]))
        watched: list[AbstractToolset[object]] = [
            self._journalled(Watched(toolset, self._log)) for toolset in toolsets
        ]
        if any(map(is_step, functions)):
            watched.append(Watched(FunctionToolset([it for it in functions if is_step(it)]), self._log))
        return watched

    def _journalled(self, toolset: AbstractToolset[object]) -> AbstractToolset[object]:
        url, token = self._job.run_url, self._job.token
        return toolset if url is None or token is None else Journalled(toolset, Steps(url, token), self._log)

    def _function(self, name: str) -> ToolFunction:
        if name not in self._functions:
            raise AgentFailed("tool_missing", f"tools.py has no function {name}.")
        return self._functions[name]

    async def _open(self, name: str) -> AbstractToolset[object]:
        server = self._job.mcp.get(name)
        if server is None:
            raise AgentFailed("mcp_unavailable", f"MCP server {name} is not set up any more.")
        await asyncio.to_thread(
            importlib.import_module, "pydantic_ai.mcp"
        )  # takes a second, which the loop has not
        try:
            return await self._stack.enter_async_context(_toolset(name, server, self._job.agent_root))
        except AgentFailed:
            raise
        except Exception as error:
            raise AgentFailed("mcp_unavailable", f"MCP server {name} did not start: {error}") from error


@dataclass
class Watched(WrapperToolset[object]):
    """Tools whose calls are logged, and whose failures are told to the model."""

    log: Callable[[str], None]

    async def call_tool(
        self, name: str, tool_args: dict[str, Any], ctx: RunContext[object], tool: ToolsetTool[object]
    ) -> object:
        self.log(f"Tool {name} is called.")
        try:
            return await super().call_tool(name, tool_args, ctx, tool)
        except (ModelRetry, ToolFailed) as told:
            self.log(f"Tool {name} failed: {told.message}")
            raise
        except (Exception, SystemExit) as error:
            what = f"{type(error).__name__}: {error}"
            self.log(f"Tool {name} failed: {what}")
            raise ToolFailed(what) from error


def _functions(job: Job) -> dict[str, ToolFunction]:
    """The functions that tools.py offers. Only in an isolated process: it is the operator's code, with its globals."""
    root = Path(job.agent_root)
    try:
        found = tools_file.load(root)
    except (OSError, SyntaxError, ValueError) as error:
        raise AgentFailed("tools_broken", f"tools.py cannot be read: {error}") from error
    if found is None or found.hash != job.request.tools_hash:
        raise AgentFailed(
            "tools_changed",
            f"tools.py has {'gone' if found is None else 'changed'} since this run was submitted, and a run never "
            "runs other code than it was accepted with; submit it again.",
        )
    module = _imported(found)
    offered = {name: getattr(module, name, None) for name in found.names}
    return {name: function for name, function in offered.items() if callable(function)}


def _imported(found: tools_file.ToolsFile) -> ModuleType:
    """The module made from the very bytes that were hashed."""
    sys.path.insert(0, str(found.path.parent))
    module = ModuleType("tools")
    module.__file__ = str(found.path)
    sys.modules["tools"] = module
    try:
        exec(compile(found.source, str(found.path), "exec"), module.__dict__)
    except Exception as error:
        raise AgentFailed(
            "tools_broken", f"tools.py cannot be imported: {type(error).__name__}: {error}"
        ) from error
    return module


def _toolset(name: str, server: McpServer, agent_root: str) -> AbstractToolset[object]:
    # Imported here: MCP costs 50 MB that a run without servers does not need.
    from fastmcp.client.transports import StdioTransport
    from pydantic_ai.mcp import MCPToolset

    if server.url:
        return MCPToolset(server.url, id=name, tool_error_behavior="failed", init_timeout=INIT_TIMEOUT_S)
    if not server.command:
        raise AgentFailed("mcp_unavailable", f"MCP server {name} has neither a command nor a url.")
    # The whole environment: it carries the attempt's mark, by which the server's processes are found and ended.
    transport = StdioTransport(
        server.command, list(server.args), env={**os.environ, **server.env}, cwd=agent_root, keep_alive=False
    )
    return MCPToolset(transport, id=name, tool_error_behavior="failed", init_timeout=INIT_TIMEOUT_S)
