"""The `function` runner's agent face: imports the operator's callable and calls it. Runs in a process of its own."""

import asyncio
import importlib
import inspect
import sys
from collections.abc import Callable
from pathlib import Path

from outlast.runners.protocol import AgentFailed, Context, Job


async def run(job: Job, context: Context) -> object:
    """Call `f(prompt)`, or `f(prompt, run)` if it takes a second argument; what it returns is the result.

    An async callable runs on the loop, any other in a thread, so that a stop is heard while it works.
    """
    function = _load(job)
    arguments: tuple[object, ...] = (job.request.prompt, context)[: 1 + _wants_run(function)]
    if inspect.iscoroutinefunction(function):
        return await function(*arguments)
    result = await asyncio.to_thread(function, *arguments)
    return await result if inspect.isawaitable(result) else result


def _load(job: Job) -> Callable[..., object]:
    name = job.request.function or ""
    module, _, attribute = name.partition(":")
    root = str(Path(job.agent_root).resolve())
    if root not in sys.path:
        sys.path.insert(0, root)
    try:
        found: object = importlib.import_module(module)
        for part in attribute.split("."):
            found = getattr(found, part)
    except Exception as error:
        raise AgentFailed(
            "agent_not_loadable", f"{name} cannot be loaded: {type(error).__name__}: {error}"
        ) from error
    if not callable(found):
        raise AgentFailed(
            "agent_not_loadable", f"{name} is a {type(found).__name__}, which cannot be called."
        )
    return found


def _wants_run(function: Callable[..., object]) -> bool:
    """Whether there is a place for the run: a second positional parameter without a default, or one so named."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return False
    places = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return len(places) > 1 and (places[1].default is inspect.Parameter.empty or places[1].name == "run")
