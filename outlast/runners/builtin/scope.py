"""What a step can see when its turn comes: the prompt, variables, and the outputs before it."""

from collections.abc import Mapping
from types import MappingProxyType

import msgspec

from outlast.runners.builtin.crew import Step, Value


class Output(msgspec.Struct, frozen=True):
    """What a step gave, and what it is called."""

    name: str
    text: str


class Scope:
    """Values by name and outputs by step. A branch sees what was there when it was made, and adds to its own."""

    def __init__(self, prompt: str, variables: dict[str, Value]) -> None:
        self.prompt = prompt
        self.values: dict[str, Value] = {"input": prompt, "topic": prompt, "previous_output": "", **variables}
        self.outputs: dict[int, Output] = {}
        self.previous: Output | None = None
        self._set: dict[str, Value] = {}

    @property
    def text(self) -> str:
        """The output before this point."""
        return self.previous.text if self.previous else ""

    def branch(self, values: Mapping[str, Value] = MappingProxyType({})) -> "Scope":
        """A scope of its own for a turn or a parallel step."""
        branch = Scope(self.prompt, {**self.values, **values})
        branch.outputs = dict(self.outputs)
        branch.previous = self.previous
        return branch

    def record(self, step: Step, text: str) -> None:
        """A step has given its output; whoever comes next sees it."""
        self.previous = self.outputs[step.id] = Output(step.name, text)
        self.set(f"{step.name}_output", text)
        self.set("previous_output", text)
        if step.output_variable:
            self.set(step.output_variable, text)

    def set(self, name: str, value: Value) -> None:
        """Give a variable a value."""
        self.values[name] = self._set[name] = value

    def join(self, branch: "Scope") -> None:
        """Take over what a branch added."""
        self.outputs |= branch.outputs
        self.values |= branch._set
        self._set |= branch._set
