"""The steps of an agents.yaml: tasks, and the four patterns that hold other steps."""

from collections.abc import Mapping as AnyMapping

import msgspec

from outlast.runners.builtin import keys
from outlast.runners.builtin.crew import Agent, Loop, Parallel, Repeat, Route, Step, Task
from outlast.runners.builtin.fields import Fields, nearest, text_of
from outlast.runners.builtin.yaml_text import Mapping, Node, Scalar, Sequence, YamlFault

MAX_AT_ONCE = 10
"""How many steps of one run are at work at a time, unless `max_workers` says otherwise."""
MAX_ITERATIONS = 100
MAX_STEPS = 1000

_TASK = frozenset(("name", "agent", "action", "description", "expected_output", "context", "output_variable"))
_BELONGS = {
    "route": frozenset(("name", "route", "output_variable")),
    "parallel": frozenset(("name", "parallel", "output_variable", "max_workers", "on_failure")),
    "loop": _TASK | {"loop", "steps", "step", "max_workers"},
    "repeat": _TASK | {"repeat", "steps", "step"},
    "task": _TASK,
}

Text = tuple[str, int]
"""A text and its line."""


class StepReader:
    """Reads steps in the order of the text, and keeps what they say beside their order."""

    def __init__(self, agents: AnyMapping[str, Agent], lists: set[str], notes: list[str]) -> None:
        self._agents = agents
        self._notes = notes
        self._next_id = 0
        self._earlier: dict[str, list[int]] = {}
        self.lists = lists
        """Names that may hold a list: variables, and what steps put their outputs in."""
        self.texts: list[Text] = []
        self.places: set[str] = set()
        """Names that steps give values to while they run."""

    def read(self, node: Node, what: str, agent: str | None = None) -> tuple[Step, ...]:
        """The steps of a list, or of a mapping from names; `agent` works on those that name none."""
        match node:
            case Mapping():
                return tuple(self._step(entry.value, name, agent) for name, entry in node.entries.items())
            case Sequence():
                return tuple(self._step(item, "", agent) for item in node.items)
            case Scalar():
                raise YamlFault(node.line, f"{what} has to be a list of steps, not a word.")

    def alone(self, agent: str) -> Task:
        """The task of an agent that has none: the prompt."""
        return Task(id=self._new_id(), name=agent, agent=agent)

    def _step(self, node: Node, name: str, agent: str | None) -> Step:
        if self._next_id >= MAX_STEPS:
            raise YamlFault(node.line, f"there are more than {MAX_STEPS} steps.")
        if isinstance(node, Scalar):
            key = self._known_agent(text_of(node, "a step"), node.line)
            return self._register(Task(id=self._new_id(), name=self._agents[key].name, agent=key), "")
        what = f"step {name}" if name else "a step"
        fields = Fields(node, keys.STEP, what, self._notes)
        name = name or fields.text("name") or ""
        kind = self._kind(fields)
        step_id = self._new_id()
        step = self._of_kind(kind, fields, step_id, name, agent)
        return self._register(step, name)

    def _kind(self, fields: Fields) -> str:
        kinds = [name for name in ("route", "parallel", "loop", "repeat") if name in fields.given()]
        if len(kinds) > 1:
            raise YamlFault(
                fields.line_of(kinds[1]),
                f"{kinds[0]} and {kinds[1]} cannot be one step; nest one in the other.",
            )
        kind = kinds[0] if kinds else "task"
        for name in fields.given():
            if name in keys.STEP.used - _BELONGS[kind]:
                raise YamlFault(fields.line_of(name), f"{name} does not belong to a {kind} step.")
        return kind

    def _of_kind(self, kind: str, fields: Fields, step_id: int, name: str, agent: str | None) -> Step:
        match kind:
            case "route":
                return self._route(fields, step_id, name or "route")
            case "parallel":
                return self._parallel(fields, step_id, name or "parallel")
            case "loop":
                return self._loop(fields, step_id, name, agent)
            case "repeat":
                return self._repeat(fields, step_id, name, agent)
            case _:
                return self._task(fields, step_id, name, agent)

    def _task(self, fields: Fields, step_id: int, name: str, agent: str | None) -> Task:
        key = self._agent_of(fields, agent)
        return Task(
            id=step_id,
            name=name or self._agents[key].name,
            agent=key,
            action=self._text(fields, "action", "description") or "{{input}}",
            expected_output=self._text(fields, "expected_output"),
            context=self._context(fields),
            output_variable=self._output_variable(fields),
        )

    def _route(self, fields: Fields, step_id: int, name: str) -> Route:
        if step_id == 0:
            raise YamlFault(fields.line, "a route step needs a step before it, whose output it looks at.")
        before = dict(self._earlier)
        after = dict(before)
        branches = []
        for word, _, node in fields.children("route"):
            self._earlier = dict(before)
            branches.append((word, self.read(_listed(node), f"route {word}")))
            after |= self._earlier
        self._earlier = after
        return Route(
            id=step_id,
            name=name,
            branches=tuple(branch for branch in branches if branch[0] != "default"),
            default=next((steps for word, steps in branches if word == "default"), None),
            output_variable=self._output_variable(fields),
        )

    def _parallel(self, fields: Fields, step_id: int, name: str) -> Parallel:
        if fields.text("on_failure") not in (None, "fail_fast"):
            raise YamlFault(
                fields.line_of("on_failure"), "on_failure can only be fail_fast: a failed task fails its run."
            )
        node = fields.node("parallel")
        if not isinstance(node, Sequence):
            raise YamlFault(fields.line_of("parallel"), "parallel has to be a list of steps.")
        before = dict(self._earlier)
        after = dict(before)
        steps: list[Step] = []
        for item in node.items:
            self._earlier = dict(before)
            steps.append(self._step(item, "", None))
            after |= self._earlier
        self._earlier = after
        self.places.add("parallel_outputs")
        self.lists.add("parallel_outputs")
        return Parallel(
            id=step_id,
            name=name,
            steps=tuple(steps),
            at_once=fields.count("max_workers", 1, 100) or MAX_AT_ONCE,
            output_variable=self._output_variable(fields),
        )

    def _loop(self, fields: Fields, step_id: int, name: str, agent: str | None) -> Loop:
        node = fields.node("loop")
        assert node is not None
        loop = Fields(node, keys.LOOP, "loop", self._notes)
        over = (loop.text("over") or "").strip("{} ")
        if over.partition(".")[0] not in self.lists:
            raise YamlFault(
                loop.line_of("over"),
                f"over has to name a list in variables, not {over or 'nothing'}.{nearest(over, self.lists)}",
            )
        item = loop.text("var_name") or "item"
        before = dict(self._earlier)
        known = item in self.lists
        self.lists.add(item)
        self.places |= {item, "loop_index", "loop_outputs"}
        steps = self._inside(fields, loop, step_id, name, agent)
        if not known:
            self.lists.discard(item)
        self._earlier = before  # what happens in one turn is not seen outside it
        self.lists.add("loop_outputs")
        workers = loop.count("max_workers", 1, 100) or fields.count("max_workers", 1, 100) or MAX_AT_ONCE
        return Loop(
            id=step_id,
            name=name or f"loop over {over}",
            over=over,
            item=item,
            steps=steps,
            at_once=workers if loop.flag("parallel") else 1,
            output_variable=self._output_variable(loop) or self._output_variable(fields),
        )

    def _repeat(self, fields: Fields, step_id: int, name: str, agent: str | None) -> Repeat:
        node = fields.node("repeat")
        assert node is not None
        repeat = Fields(node, keys.REPEAT, "repeat", self._notes)
        if not repeat.given():
            raise YamlFault(repeat.line, "repeat needs until, max_iterations, or both.")
        return Repeat(
            id=step_id,
            name=name or "repeat",
            steps=self._inside(fields, repeat, step_id, name, agent),
            until=repeat.text("until"),
            max_iterations=repeat.count("max_iterations", 1, MAX_ITERATIONS) or 5,
            output_variable=self._output_variable(fields),
        )

    def _inside(
        self, fields: Fields, pattern: Fields, step_id: int, name: str, agent: str | None
    ) -> tuple[Step, ...]:
        """What a loop or repeat does: the steps given beside it or in it, else the task beside it."""
        holders = [holder for holder in (fields, pattern) if holder.has("steps", "step")]
        if not holders:
            task = self._task(fields, self._new_id(), name, agent)
            return (msgspec.structs.replace(task, output_variable=None),)
        extra = [key for key in fields.given() if key in _TASK - {"name", "output_variable"}]
        if extra or len(holders) > 1:
            line = fields.line_of(extra[0]) if extra else pattern.line
            raise YamlFault(line, "this step has steps of its own; put everything into them.")
        node = holders[0].node("steps", "step")
        assert node is not None
        one = holders[0].has("step") and isinstance(node, Mapping)
        return (self._step(node, "", agent),) if one else self.read(_listed(node), "steps", agent)

    def _register(self, step: Step, name: str) -> Step:
        if name:
            self._earlier.setdefault(name, [])
            self._earlier[name] = [*self._earlier[name], step.id]
            self.places.add(f"{name}_output")
        return step

    def _context(self, fields: Fields) -> tuple[int, ...] | None:
        names = fields.names("context")
        if names is None:
            return None
        return tuple(self._step_named(name) for name in names)

    def _step_named(self, name: Scalar) -> int:
        ids = self._earlier.get(name.text, [])
        match ids:
            case []:
                hint = nearest(name.text, self._earlier)
                raise YamlFault(
                    name.line, f"context names {name.text}, which is no task before this one.{hint}"
                )
            case [only]:
                return only
            case _:
                raise YamlFault(name.line, f"context names {name.text}, but {len(ids)} tasks are called so.")

    def _agent_of(self, fields: Fields, default: str | None) -> str:
        name = fields.text("agent")
        if name is not None:
            return self._known_agent(name, fields.line_of("agent"))
        if default is None and len(self._agents) == 1:
            default = next(iter(self._agents))
        if default is None:
            raise YamlFault(fields.line, f"{fields.what} names no agent.")
        return default

    def _known_agent(self, name: str, line: int) -> str:
        if name not in self._agents:
            raise YamlFault(line, f"there is no agent {name}.{nearest(name, self._agents)}")
        return name

    def _output_variable(self, fields: Fields) -> str | None:
        name = fields.text("output_variable")
        if name is not None:
            self.places.add(name)
            self.lists.add(name)
        return name

    def _text(self, fields: Fields, *names: str) -> str | None:
        text = fields.text(*names)
        if text is not None:
            self.texts.append((text, fields.line_of(*names)))
        return text

    def _new_id(self) -> int:
        self._next_id += 1
        return self._next_id - 1


def _listed(node: Node) -> Node:
    """A word, or one step written out, stands for a list of one; null for an empty list."""
    match node:
        case Scalar(is_null=True):
            return Sequence((), node.line, node.weight)
        case Scalar():
            return Sequence((node,), node.line, node.weight)
        case Mapping(entries=entries) if "agent" in entries:
            return Sequence((node,), node.line, node.weight)
        case _:
            return node
