"""An agents.yaml, in either of its forms, as a `Crew`. Pure: no file, no model, no import of anybody's code.

Whatever is wrong with a text is an `InvalidAgentYaml` that names the line; nothing in it is dropped without a word.
"""

from collections.abc import Iterator

import msgspec

from outlast.errors import InvalidAgentYaml
from outlast.runners.builtin import keys
from outlast.runners.builtin.crew import Agent, Crew, Loop, Parallel, Repeat, Route, Step, Task, Value
from outlast.runners.builtin.fields import Fields, value_of
from outlast.runners.builtin.members_yaml import AgentReader, without_provider
from outlast.runners.builtin.placeholders import CHANGING, PROMPT_NAMES, names_in
from outlast.runners.builtin.steps_yaml import StepReader
from outlast.runners.builtin.yaml_text import Node, YamlFault, read


def parse(text: str, source: str = "agents.yaml") -> Crew:
    """The crew a text describes; `source` is what an error calls the text."""
    try:
        return _Reading(read(text)).crew()
    except YamlFault as fault:
        raise InvalidAgentYaml(f"{source} {fault}") from fault


class _Reading:
    """One text being read."""

    def __init__(self, root: Node) -> None:
        self._notes: list[str] = []
        self._root = Fields(root, keys.ROOT, "the text", self._notes)
        block = self._root.node("workflow")
        self._workflow = Fields(block, keys.WORKFLOW, "workflow", self._notes) if block else None
        default_llm = self._workflow.text("default_llm") if self._workflow else None
        self._agents = AgentReader(without_provider(default_llm), self._notes)

    def crew(self) -> Crew:
        self._check_process()
        holder = self._holder("variables")
        variables = {name: value_of(node) for name, _, node in holder.children("variables")}
        members = self._members()
        shared = self._agents.servers(self._root.node("mcp"), "mcp")
        agents = {key: self._agents.read(key, fields, shared) for key, fields in members.items()}
        reader = StepReader(agents, set(variables), self._notes)
        steps = self._steps(members, reader)
        self._check_placeholders(variables, reader)
        return Crew(
            agents=agents,
            steps=steps,
            variables=variables,
            prompted=_prompted(agents, steps, variables),
            tools=tuple(self._agents.tools),
            mcp=tuple(self._agents.mcp),
            notes=tuple(self._notes),
        )

    def _holder(self, *names: str) -> Fields:
        """Where something stands: at the top, or inside `workflow`."""
        if self._workflow is None or not self._workflow.has(names[0]):
            return self._root
        if self._root.has(*names):
            raise YamlFault(
                self._workflow.line_of(names[0]), f"{names[0]} are given at the top and in workflow."
            )
        return self._workflow

    def _check_process(self) -> None:
        self._root.node("topic", "input")  # not both, though neither is used: the prompt takes their place
        process = self._root.text("process", "process_type")
        if process not in (None, "sequential", "workflow"):
            line = self._root.line_of("process", "process_type")
            raise YamlFault(line, f"process {process} does not work here; it can be sequential or workflow.")

    def _members(self) -> dict[str, Fields]:
        single = self._root.node("agent")
        several = self._root.node("agents", "roles")
        if single is not None and several is not None:
            raise YamlFault(self._root.line_of("agent"), "agent and agents cannot both be given.")
        if single is not None:
            return {"agent": Fields(single, keys.AGENT, "agent", self._notes)}
        name = "agents" if self._root.has("agents") else "roles"
        members = self._root.children(name)
        if not members:
            raise YamlFault(self._root.line, "there are no agents; name at least one under agents.")
        return {key: Fields(node, keys.AGENT, f"agent {key}", self._notes) for key, _, node in members}

    def _steps(self, members: dict[str, Fields], reader: StepReader) -> tuple[Step, ...]:
        holder = self._holder("steps", "tasks")
        node = holder.node("steps", "tasks") if holder is self._root else holder.node("steps")
        own = {key: fields for key, fields in members.items() if fields.has("tasks", "steps")}
        if node is not None and own:
            key, fields = next(iter(own.items()))
            line = fields.line_of("tasks", "steps")
            raise YamlFault(
                line, f"agent {key} has tasks of its own, but there are steps for all of them too."
            )
        if node is not None:
            return reader.read(node, "steps")
        if own:
            return _seeing_all_before(self._nested(own, reader))
        return tuple(reader.alone(key) for key in members)

    def _nested(self, own: dict[str, Fields], reader: StepReader) -> Iterator[Step]:
        for key, fields in own.items():
            node = fields.node("tasks", "steps")
            assert node is not None
            yield from reader.read(node, f"tasks of agent {key}", key)

    def _check_placeholders(self, variables: dict[str, Value], reader: StepReader) -> None:
        known = {*PROMPT_NAMES, "previous_output", *variables, *reader.places}
        for text, line in (*self._agents.texts, *reader.texts):
            for name in names_in(text, _in_single(variables)):
                if name in known:
                    continue
                if name in CHANGING:
                    raise YamlFault(
                        line,
                        f"{{{{{name}}}}} does not work here, since a resumed run would ask something else; "
                        f"put it into the prompt, or into variables.",
                    )
                self._notes.append(f"line {line}: {{{{{name}}}}} stays as it is: there is no such variable.")


def _in_single(variables: dict[str, Value]) -> set[str]:
    return {*PROMPT_NAMES, *variables}


def _seeing_all_before(steps: Iterator[Step]) -> tuple[Step, ...]:
    """In the classic form a task without `context` sees every output before it."""
    seen: list[Step] = []
    for step in steps:
        if isinstance(step, Task) and step.context is None:
            step = msgspec.structs.replace(step, context=tuple(before.id for before in seen))
        seen.append(step)
    return tuple(seen)


def _prompted(
    agents: dict[str, Agent], steps: tuple[Step, ...], variables: dict[str, Value]
) -> frozenset[int]:
    """The first tasks, if the prompt is mentioned by none of those that are certain to run."""
    names = set(PROMPT_NAMES) - set(variables)
    for task in _certain(steps):
        agent = agents[task.agent]
        for text in (task.action, task.expected_output, agent.role, agent.goal, agent.instructions):
            if text and names & set(names_in(text, names)):
                return frozenset()
    return frozenset(task.id for task in _first(steps[0]))


def _certain(steps: tuple[Step, ...]) -> Iterator[Task]:
    for step in steps:
        match step:
            case Task():
                yield step
            case Parallel() | Loop() | Repeat():
                yield from _certain(step.steps)
            case _:
                pass


def _first(step: Step) -> Iterator[Task]:
    match step:
        case Task():
            yield step
        case Parallel():
            for inner in step.steps:
                yield from _first(inner)
        case Loop() | Repeat():
            yield from _first(step.steps[0])
        case Route():
            pass
        case _:
            raise AssertionError(step)
