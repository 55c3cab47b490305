"""What a runner is, and the frames a worker and an agent process speak.

A runner has two faces. `prepare` runs in the server at submit: it refuses what cannot run and fixes what will, and
imports nothing heavy. `run` is imported only in an agent process. Both processes speak `ToChild` and `ToParent`
frames, whether the process carries one run (isolated) or many (a shared host).
"""

from collections.abc import Awaitable, Callable
from typing import Protocol

import msgspec

from outlast.config import McpServer, Settings
from outlast.runs import Isolation, JsonObject, Progress, RunRequest


class Submission(msgspec.Struct, frozen=True, kw_only=True):
    """What a client asked to run, before a runner has looked at it."""

    prompt: str
    framework: str | None = None
    agent: str | None = None
    agent_file: str | None = None
    agent_yaml: str | None = None
    config: JsonObject | None = None
    session_id: str | None = None
    metadata: JsonObject | None = None


class Prepared(msgspec.Struct, frozen=True):
    """What will run, and where."""

    request: RunRequest
    kind: Isolation


class Terminal(msgspec.Struct, frozen=True):
    """Descriptors in the attempt's process that lead to whoever started `outlast exec`."""

    stdin: int
    stdout: int
    stderr: int
    fate: int
    """Where a line is written when the program has ended: its exit code, or the negative number of the signal."""


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt, as its agent process gets it."""

    run_id: str
    attempt_id: str
    attempt: int
    request: RunRequest
    base_url: str | None = None
    """The gateway's OpenAI-compatible address, `http://127.0.0.1:…/v1`."""
    token: str | None = None
    """Good for this run and attempt only, and only at the gateway."""
    run_url: str | None = None
    """Where the attempt speaks of its run, with its token, as docs/guides/steps.md says."""
    agent_root: str = "."
    mcp: dict[str, McpServer] = {}
    """The operator's MCP servers that the request names."""
    env: dict[bytes, bytes] = {}
    """What the operator gives this agent's command in its environment."""
    terminal: Terminal | None = None


class Context(Protocol):
    """What a runner's code can do while it runs; all of it may be called from any thread of the process."""

    job: Job

    def log(self, message: str) -> None:
        """A durable line of the run's log."""
        ...

    def progress(self, progress: Progress) -> None:
        """How far the run is, as measured."""
        ...

    def token(self, text: str) -> None:
        """A piece of model output for whoever watches; not kept."""
        ...


RunFunction = Callable[[Job, Context], Awaitable[object]]
"""The second face: returns any JSON value, or raises. `AgentFailed` chooses the error's code."""


class Silence:
    """A result of an agent that has nothing to say, and need not."""


class AgentFailed(Exception):
    """The agent failed in a way that has a name: the run ends `failed` with this code and message."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Runner(msgspec.Struct, frozen=True):
    """A runner's first face, and where its second is."""

    name: str
    version: str
    prepare: Callable[[Submission, Settings], Prepared]
    """Raises a `BadRequest` that names what is wrong; never starts anything."""
    entry: str
    """`module:function` of the `RunFunction`."""
    needs_model: bool = True
    preload: tuple[str, ...] = ()
    """Modules worth importing before the first attempt."""


class Start(msgspec.Struct, frozen=True, kw_only=True, tag="start"):
    """Begin an attempt: what becomes the `Job`, and the runner's `entry`.

    The request travels as the JSON that the store has: the parent never unpacks a prompt, and raw JSON inside it
    stays JSON.
    """

    run_id: str
    attempt_id: str
    attempt: int
    request: bytes
    entry: str
    base_url: str | None = None
    token: str | None = None
    agent_root: str = "."
    mcp: dict[str, McpServer] = {}
    env: dict[bytes, bytes] = {}


class Stop(msgspec.Struct, frozen=True, tag="stop"):
    """Cancel an attempt: its task is cancelled, the process is killed after the grace."""

    attempt_id: str


class Ping(msgspec.Struct, frozen=True, tag="ping"):
    """Are you there; a host that does not answer is killed."""

    n: int


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """The process has loaded what it needs."""

    pid: int


class Logged(msgspec.Struct, frozen=True, tag="log"):
    """A log line of the runner's own."""

    attempt_id: str
    message: str


class Progressed(msgspec.Struct, frozen=True, tag="progress"):
    """The attempt measured its progress."""

    attempt_id: str
    progress: Progress


class Token(msgspec.Struct, frozen=True, tag="token"):
    """Model output, live only."""

    attempt_id: str
    text: str


class Done(msgspec.Struct, frozen=True, tag="done"):
    """The attempt has a result, as JSON in UTF-8."""

    attempt_id: str
    result: bytes


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """The agent failed."""

    attempt_id: str
    code: str
    message: str


class Stopped(msgspec.Struct, frozen=True, tag="stopped"):
    """The attempt obeyed a `Stop`."""

    attempt_id: str


class Pong(msgspec.Struct, frozen=True, tag="pong"):
    """Yes."""

    n: int


ToChild = Start | Stop | Ping
ToParent = Ready | Logged | Progressed | Token | Done | Failed | Stopped | Pong
