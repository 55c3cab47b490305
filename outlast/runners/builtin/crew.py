"""What an agents.yaml says, in nouns of our own: who works, on what, in which order."""

import msgspec

Value = str | list["Value"] | dict[str, "Value"]
"""What a variable can hold. Numbers and flags stay the text they were written as."""


class Llm(msgspec.Struct, frozen=True):
    """A model and how it is asked; what is not said here is the run's model and the provider's default."""

    model: str | None = None
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    seed: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None


class Agent(msgspec.Struct, frozen=True):
    """Someone who works: the texts its model is told, and what it may use."""

    key: str
    name: str
    role: str | None = None
    goal: str | None = None
    instructions: str | None = None
    llm: Llm = Llm()
    tools: tuple[str, ...] = ()
    mcp: tuple[str, ...] = ()


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of the work; its id is its place in the text, from 0."""

    id: int
    name: str
    output_variable: str | None = None
    """The variable that its output becomes."""


class Task(Step, frozen=True, kw_only=True):
    """One agent asked once: one user message, and its system message before it."""

    agent: str
    action: str = "{{input}}"
    expected_output: str | None = None
    context: tuple[int, ...] | None = None
    """The steps whose outputs it is shown; None is the one before it, unless its action places that itself."""


class Route(Step, frozen=True, kw_only=True):
    """The branch whose word the output before it contains, whatever the case; the first one that fits."""

    branches: tuple[tuple[str, tuple[Step, ...]], ...]
    default: tuple[Step, ...] | None = None


class Parallel(Step, frozen=True, kw_only=True):
    """Steps that do not see each other, at the same time. Its output is theirs, in the order of the text."""

    steps: tuple[Step, ...]
    at_once: int


class Loop(Step, frozen=True, kw_only=True):
    """The steps once for each item of a list; no turn sees another's outputs."""

    over: str
    """The list's name, with dots for what lies inside it."""
    item: str
    steps: tuple[Step, ...]
    at_once: int


class Repeat(Step, frozen=True, kw_only=True):
    """The steps again, each turn seeing the one before, until the output contains a word or the turns are used up."""

    steps: tuple[Step, ...]
    until: str | None
    max_iterations: int


class Named(msgspec.Struct, frozen=True):
    """A tool or MCP server that the text names, and where."""

    name: str
    line: int


class Crew(msgspec.Struct, frozen=True, kw_only=True):
    """A whole agents.yaml. Its own `topic` or `input` is not here: the prompt takes their place."""

    agents: dict[str, Agent]
    steps: tuple[Step, ...]
    variables: dict[str, Value]
    prompted: frozenset[int]
    """Tasks that are handed the prompt beside their action, because no text mentions it."""
    tools: tuple[Named, ...] = ()
    mcp: tuple[Named, ...] = ()
    notes: tuple[str, ...] = ()
    """What the text says that has no effect here: said in the run's log."""
