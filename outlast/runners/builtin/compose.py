"""The two messages of a task: what its agent is (system) and what it is to do (user). Nothing is invented."""

from collections.abc import Iterator

from outlast.runners.builtin.crew import Agent, Crew, Task
from outlast.runners.builtin.placeholders import PROMPT_NAMES, fill, names_in
from outlast.runners.builtin.scope import Output, Scope


def system_text(crew: Crew, agent: Agent, scope: Scope) -> str | None:
    """Role, goal and instructions, as far as they are given; None where none is."""
    head = [f"{label}: {text}" for label, text in (("Role", agent.role), ("Goal", agent.goal)) if text]
    parts = ["\n".join(head), agent.instructions or ""]
    text = "\n\n".join(part for part in parts if part)
    return _filled(text, crew, scope) if text else None


def user_text(crew: Crew, task: Task, scope: Scope) -> str:
    """The action; the prompt where no text mentions it; what is expected; the outputs the task is shown."""
    parts = [_filled(task.action, crew, scope)]
    if task.id in crew.prompted:
        parts.append(scope.prompt)
    if task.expected_output:
        parts.append(f"Expected output: {_filled(task.expected_output, crew, scope)}")
    parts += [f"Output of {output.name}:\n{output.text}" for output in _shown(task, scope)]
    return "\n\n".join(parts)


def _shown(task: Task, scope: Scope) -> Iterator[Output]:
    if task.context is not None:
        yield from (scope.outputs[step] for step in task.context if step in scope.outputs)
    elif scope.previous and "previous_output" not in set(names_in(task.action, ())):
        yield scope.previous


def _filled(text: str, crew: Crew, scope: Scope) -> str:
    return fill(text, scope.values, {*PROMPT_NAMES, *crew.variables})
