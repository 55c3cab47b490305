"""Runs the steps of a crew in their order. What a task does is the caller's; this knows only who comes next."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

import msgspec

from outlast.runners.builtin.crew import Loop, Parallel, Repeat, Route, Step, Task, Value
from outlast.runners.builtin.placeholders import find
from outlast.runners.builtin.scope import Scope
from outlast.runners.protocol import AgentFailed

MAX_TURNS = 1000
"""Items of one loop: a list may come from a model."""

Perform = Callable[[Task, Scope], Awaitable[str]]


class Flow:
    """One run of some steps. The first failure ends it, and whatever is under way at the same time."""

    def __init__(self, perform: Perform, log: Callable[[str], None]) -> None:
        self._perform = perform
        self._log = log

    async def run(self, steps: Sequence[Step], scope: Scope) -> None:
        """The steps one after the other; `scope` has their outputs afterwards."""
        for step in steps:
            scope.record(step, await self._output(step, scope))

    async def _output(self, step: Step, scope: Scope) -> str:
        match step:
            case Task():
                return await self._perform(step, scope)
            case Route():
                return await self._route(step, scope)
            case Parallel():
                return await self._parallel(step, scope)
            case Loop():
                return await self._loop(step, scope)
            case Repeat():
                return await self._repeat(step, scope)
            case _:
                raise AssertionError(step)

    async def _route(self, route: Route, scope: Scope) -> str:
        seen = scope.text.lower()
        for word, steps in route.branches:
            if word.lower() in seen:
                self._log(f"{route.name} takes {word}.")
                await self.run(steps, scope)
                return scope.text
        self._log(f"{route.name} takes {'nothing' if route.default is None else 'default'}.")
        await self.run(route.default or (), scope)
        return scope.text

    async def _parallel(self, parallel: Parallel, scope: Scope) -> str:
        branches = [scope.branch() for _ in parallel.steps]
        turns = zip(parallel.steps, branches, strict=True)
        await _together(parallel.at_once, [partial(self.run, (step,), branch) for step, branch in turns])
        for branch in branches:
            scope.join(branch)
        return _gathered(scope, "parallel_outputs", branches)

    async def _loop(self, loop: Loop, scope: Scope) -> str:
        items = _items(loop, scope)
        branches = [
            scope.branch({loop.item: item, "loop_index": str(index)}) for index, item in enumerate(items)
        ]
        await _together(loop.at_once, [partial(self.run, loop.steps, branch) for branch in branches])
        return _gathered(scope, "loop_outputs", branches)

    async def _repeat(self, repeat: Repeat, scope: Scope) -> str:
        for _ in range(repeat.max_iterations):
            await self.run(repeat.steps, scope)
            if repeat.until and repeat.until.lower() in scope.text.lower():
                break
        else:
            if repeat.until:
                self._log(
                    f"{repeat.name} ended after {repeat.max_iterations} turns without {repeat.until!r}."
                )
        return scope.text


def _gathered(scope: Scope, name: str, branches: list[Scope]) -> str:
    texts = [branch.text for branch in branches]
    scope.set(name, list[Value](texts))
    return "\n\n".join(texts)


def _items(loop: Loop, scope: Scope) -> list[Value]:
    """The list, or what a model wrote as a JSON list, fenced or not."""
    value = find(scope.values, loop.over)
    if isinstance(value, str):
        value = _json_list(value)
    if not isinstance(value, list):
        raise AgentFailed("not_a_list", f"{loop.name}: {loop.over} is not a list, nor a JSON list in a text.")
    if len(value) > MAX_TURNS:
        raise AgentFailed("too_many_items", f"{loop.name}: {len(value)} items are more than {MAX_TURNS}.")
    return value


def _json_list(text: str) -> list[Value] | None:
    bare = text.strip().removeprefix("```json").removeprefix("```").removesuffix("```")
    try:
        return [_as_value(item) for item in msgspec.json.decode(bare, type=list[object])]
    except msgspec.DecodeError:
        return None


def _as_value(item: object) -> Value:
    match item:
        case str():
            return item
        case list():
            return [_as_value(inner) for inner in item]
        case dict():
            return {str(key): _as_value(inner) for key, inner in item.items()}
        case _:
            return msgspec.json.encode(item).decode()


async def _together(at_once: int, turns: Sequence[Callable[[], Awaitable[None]]]) -> None:
    gate = asyncio.Semaphore(at_once)

    async def one(turn: Callable[[], Awaitable[None]]) -> None:
        async with gate:
            await turn()

    try:
        async with asyncio.TaskGroup() as group:
            for turn in turns:
                group.create_task(one(turn))
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from errors.exceptions[0].__cause__
