"""Tools whose finished calls are given back to later attempts.

A call is known by the tool, its arguments, and how often this attempt has made it: not by the id that the model gives,
which another answer of the model would change. What a tool told the model instead of a result is kept as well.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from pydantic_ai import ModelRetry, RunContext, ToolFailed, ToolReturn
from pydantic_ai.durable_exec import JSON_CODEC
from pydantic_ai.tools import ToolDefinition
from pydantic_ai.toolsets import AbstractToolset, WrapperToolset
from pydantic_ai.toolsets.abstract import ToolsetTool
from pydantic_core import PydanticSerializationError

from outlast import durable
from outlast.durable import Begun, Effect, Steps


def is_step(function: Callable[..., object]) -> bool:
    """Whether a function of the operator's is a `tool` of ours, which sees to its calls itself."""
    return bool(getattr(function, "__outlast_tool__", False))


@dataclass
class Journalled(WrapperToolset[object]):
    """Each call is a step of the run."""

    steps: Steps
    log: Callable[[str], None]

    def __init__(self, wrapped: AbstractToolset[object], steps: Steps, log: Callable[[str], None]) -> None:
        super().__init__(wrapped)
        self.steps = steps
        self.log = log

    async def call_tool(
        self, name: str, tool_args: dict[str, Any], ctx: RunContext[object], tool: ToolsetTool[object]
    ) -> object:
        begun = await asyncio.to_thread(self.steps.begin, name, effect_of(tool.tool_def), tool_args or None)
        if begun.state == "run":
            outcome = await outcome_of(super().call_tool(name, tool_args, ctx, tool))
            return given(await asyncio.to_thread(self.steps.end, begun.step, outcome))
        if begun.state == "done":
            self.log(f"Tool {name} was called before.")
            return given(begun.result)
        return await _never(begun)


async def _never(begun: Begun) -> object:
    if begun.state == "failed":
        raise ToolFailed(begun.error)
    await asyncio.sleep(durable.UNSURE_S)  # the run waits, and its attempt is being stopped
    raise durable.StepError(f"The run waits for a person to say whether step {begun.step} was done.")


def effect_of(tool: ToolDefinition) -> Effect:
    """What an MCP server has said of its tool; what nobody says anything of is called again."""
    said = (tool.metadata or {}).get("annotations")
    hints = said if isinstance(said, dict) else {}
    if hints.get("readOnlyHint"):
        return "read"
    if hints.get("idempotentHint"):
        return "idempotent"
    return "once" if hints.get("destructiveHint") else "read"


async def outcome_of(call: Awaitable[object]) -> object:
    """What came of a call, as JSON."""
    try:
        found = await call
    except ModelRetry as told:
        return {"kind": "retry", "message": told.message}
    except ToolFailed as told:
        return {"kind": "failed", "message": told.message}
    if found is None or isinstance(found, str | int | float | bool):
        return found
    whole = found if isinstance(found, ToolReturn) else ToolReturn[object](return_value=found)
    kind = "whole" if whole is found else "value"
    try:
        return {"kind": kind, "value": JSON_CODEC.dump(ToolReturn, whole)}
    except (PydanticSerializationError, ValueError, TypeError) as error:
        return {"kind": "failed", "message": f"What the tool returned has no JSON form: {error}"}


def given(outcome: object) -> object:
    """The same for the model, whether it has just been or was in an attempt before."""
    match outcome:
        case {"kind": "retry", "message": str(message)}:
            raise ModelRetry(message)
        case {"kind": "failed", "message": str(message)}:
            raise ToolFailed(message)
        case {"kind": "value", "value": value}:
            return JSON_CODEC.load(ToolReturn, value).return_value
        case {"kind": "whole", "value": value}:
            return JSON_CODEC.load(ToolReturn, value)
        case _:
            return outcome  # what a person has answered instead
