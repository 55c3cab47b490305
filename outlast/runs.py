"""The nouns: what a run, an attempt and an event are. Data only; nothing here changes a run.

Times are milliseconds since the epoch, UTC (`*_at`); durations carry their unit in the name.
All nouns are frozen: a run that changed is another value, made by `lifecycle.decide` and nowhere else. None can be
part of a reference cycle, so the garbage collector is spared them (`gc=False`).
"""

import re
from enum import StrEnum

import msgspec

Json = bytes
"""A JSON document in UTF-8, as stored."""

JsonObject = dict[str, object]
"""A JSON object that a client sent, read. (`Raw | None` cannot be decoded by msgspec.)"""


class RunState(StrEnum):
    """Where a run is. Each says who moves it on, and what happens if nobody does."""

    QUEUED = "queued"
    """A worker with a free place claims it; without one it waits for as long as it takes."""
    RUNNING = "running"
    """Its attempt finishes it; if the attempt's lease ends, the janitor puts it back to `queued`."""
    WAITING = "waiting"
    """A person, a budget or a tool decision wakes it; it holds no lease, attempt or place meanwhile."""
    SUCCEEDED = "succeeded"
    """Nobody. Final, with a result."""
    FAILED = "failed"
    """Nobody. Final, with an error."""
    CANCELLED = "cancelled"
    """Nobody. Final."""

    @property
    def is_final(self) -> bool:
        return self in FINAL


DEFAULT_QUEUE = "default"
FINAL = frozenset({RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELLED})


class RunStatus(StrEnum):
    """What the wire calls the state: `waiting` is shown as `running` with a `waiting` object beside it."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


_STATUS = {state: RunStatus("running" if state is RunState.WAITING else state.value) for state in RunState}


class Isolation(StrEnum):
    """Where an attempt's code runs."""

    SHARED = "shared"
    """With other runs in an asyncio host process of ours: for code of ours that is safe there."""
    ISOLATED = "isolated"
    """In a process of its own."""


class Caller(msgspec.Struct, frozen=True, gc=False):
    """Who asks: every verb of the engine takes one."""

    tenant: str = "default"
    key_id: str | None = None


class Progress(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """How far a run has come, as measured or as its agent reported it; never invented."""

    percentage: float = msgspec.field(default=0.0)
    current_step: str | None = None
    steps_completed: int | None = None
    steps_total: int | None = None


class Usage(msgspec.Struct, frozen=True, gc=False):
    """What the run's model calls have cost so far, counted by the gateway."""

    model_calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_nano_usd: int = 0
    """Of the calls whose price is known, in billionths of a dollar."""
    unpriced_calls: int = 0
    """Calls that `cost_nano_usd` knows nothing of: their price, or their tokens, are unknown. Unknown is not zero."""

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            self.model_calls + other.model_calls,
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cost_nano_usd + other.cost_nano_usd,
            self.unpriced_calls + other.unpriced_calls,
        )

    @property
    def spent(self) -> "Spent | None":
        """As the wire tells it, null before the first call; the cost is null while that of no call is known."""
        if self.model_calls == 0:
            return None
        cost_usd = self.cost_nano_usd / 1e9 if self.model_calls > self.unpriced_calls else None
        return Spent(self.model_calls, self.input_tokens, self.output_tokens, cost_usd, self.unpriced_calls)


class Spent(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """A run's usage in status, result and webhook. The cost is all there was only if no call is unpriced."""

    model_calls: int
    input_tokens: int
    output_tokens: int
    cost_usd: float | None = None
    unpriced_calls: int = 0


class Budget(msgspec.Struct, frozen=True, gc=False):
    """What a run may use before it waits for more; null is no limit."""

    max_cost_nano_usd: int | None = None
    """In billionths of a dollar."""
    max_tokens: int | None = None
    """Input and output together."""

    def is_left(self, used: Usage) -> bool:
        """Whether there is anything to go on with."""
        costs_too_much = self.max_cost_nano_usd is not None and used.cost_nano_usd >= self.max_cost_nano_usd
        return not costs_too_much and (
            self.max_tokens is None or used.input_tokens + used.output_tokens < self.max_tokens
        )

    @property
    def allowed(self) -> "Allowed":
        """As the wire tells it."""
        usd = None if self.max_cost_nano_usd is None else self.max_cost_nano_usd / 1e9
        return Allowed(usd, self.max_tokens)


NO_BUDGET = Budget()


class Allowed(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """A run's budget in its status and events; what is left out has no limit."""

    max_cost_usd: float | None = None
    max_tokens: int | None = None


class RunError(msgspec.Struct, frozen=True, gc=False):
    """Why a run failed: a stable code for programs, a sentence for people."""

    code: str
    message: str


class JournalMode(StrEnum):
    """What a retry makes of the journal."""

    RESUME = "resume"
    """What was answered is not asked again, but for the last answered call."""
    FRESH = "fresh"
    """Everything is asked again: a new generation."""


class Retry(msgspec.Struct, frozen=True, gc=False):
    """What the submit asked for when the agent fails: attempts in all, the pause between them, what they begin with."""

    max_attempts: int = 1
    backoff_s: float = 1.0
    journal: JournalMode = JournalMode.RESUME


class Run(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """The head of a run: its row in the store, which is also its place in the queue.

    The request and the result are not in it (they may be large): see `RunRequest` and `Store.result`.
    """

    id: str
    tenant: str
    state: RunState
    runner: str
    framework: str
    kind: Isolation
    created_at: int
    timeout_s: int
    submitted_by: str | None = None
    session_id: str | None = None
    agent: str | None = None
    queue: str = DEFAULT_QUEUE
    """Only workers that serve it take the run."""
    priority_s: int = 0
    order_at: int = 0
    """The queue's order: when it was created, or due if it is to start later, minus the head start of its priority.

    A requeued run keeps its place.
    """
    due_at: int | None = None
    """Not before this time (asked for at submit, or a retry's backoff); `ready` is false until then."""
    ready: bool = True
    lanes: str = ""
    """The kinds of lane whose places it needs, in the order it takes them, such as `session tenant`; empty for most."""
    blocked_by: str | None = None
    """The lane it waits for, holding its places in those before it; null when it has them all."""
    seq: int = 0
    """The number of the last event; events are gapless from 1."""
    generation: int = 1
    """Of the journal: a call of another one is not found."""
    parent_id: str | None = None
    forked_from: str | None = None
    schedule_id: str | None = None
    """The schedule that made it, also after that is deleted."""
    attempt_id: str | None = None
    """The fence: the random id of the attempt that holds the run, null when none does."""
    attempt: int = 0
    """How many attempts have been started."""
    attempt_at: int | None = None
    """When the present attempt was claimed."""
    worker_id: str | None = None
    lost: int = 0
    """Attempts whose own process died; bounded by `lifecycle.MAX_LOST` and `MAX_LOST_PROVEN`."""
    unproven: int = 0
    """Attempts started since the last durable progress; bounded by `lifecycle.MAX_UNPROVEN`."""
    failures: int = 0
    """Attempts in which the agent itself failed; bounded by `retry.max_attempts`."""
    solo: bool = False
    """To be run alone until it has made progress: it was in a shared host that died with others."""
    executed_ms: int = 0
    """Time under a live lease, summed over ended attempts."""
    started_at: int | None = None
    finished_at: int | None = None
    waiting_kind: str | None = None
    waiting: msgspec.Raw | None = None
    progress: Progress = Progress()
    usage: Usage = Usage()
    budget: Budget = NO_BUDGET
    error: RunError | None = None
    retry: Retry = Retry()
    webhook_url: str | None = None
    metadata: msgspec.Raw | None = None
    """The client's own JSON object, given back as it came."""
    idempotency_key: str | None = None
    idempotency_session: str | None = None
    """Empty for a key of the whole tenant, else the session it is unique in; null without a key."""
    idempotency_hash: bytes | None = None
    result_size: int | None = None
    """Bytes of the result's JSON, null without a result."""

    @property
    def status(self) -> RunStatus:
        """What the wire calls `state`."""
        return _STATUS[self.state]

    @property
    def is_final(self) -> bool:
        return self.state in FINAL


class Body(msgspec.Struct, frozen=True, gc=False):
    """A result as the store keeps it: inside the row, or by hash in the blobs when it is large."""

    size: int
    """Bytes of JSON."""
    inline: Json | None = None
    hash: bytes | None = None


class Program(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """What a `command` run starts. Bytes, since neither arguments nor paths need be text."""

    argv: tuple[bytes, ...]
    cwd: bytes | None = None
    """Where it is started; the agent root if null."""
    is_local: bool = False
    """The local user's own, of `outlast exec`: it has their environment and terminal, and need not say anything."""


class RunRequest(msgspec.Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """What runs, fixed at submit and never resolved again: an edit of a file or a setting changes no accepted run."""

    prompt: str
    runner: str
    runner_version: str = ""
    framework: str = "praisonai"
    agent: str | None = None
    agent_file: str | None = None
    agent_yaml: str | None = None
    """The text of the agents.yaml, whether it came inline or from a file."""
    model: str | None = None
    """The model alias the run asks the gateway for."""
    tools_hash: str | None = None
    """SHA-256 of the operator's local tools, when the run uses them."""
    mcp: tuple[str, ...] = ()
    """Names of the operator's MCP servers that the run may use."""
    function: str | None = None
    """What a `function` run calls: `module:callable`."""
    program: Program | None = None
    """What a `command` run starts."""
    config: JsonObject | None = None
    session_id: str | None = None
    metadata: JsonObject | None = None


class EventKind(StrEnum):
    """What an event of a run tells. Durable and numbered; token deltas are neither."""

    STATUS = "status"
    PROGRESS = "progress"
    LOG = "log"
    MODEL_CALL = "model_call"
    BUDGET = "budget"
    STEP = "step"
    COMPLETE = "complete"


class Draft(msgspec.Struct, frozen=True, gc=False):
    """An event before the store has numbered it."""

    kind: EventKind
    data: Json
    """A JSON object."""


class Event(msgspec.Struct, frozen=True, gc=False):
    """Something that happened to a run; `complete` is the last one and there is exactly one.

    The result is not stored in `complete` a second time; whoever renders the event adds it.
    """

    run_id: str
    seq: int
    kind: EventKind
    at: int
    data: Json
    attempt_id: str | None = None


class Notice(msgspec.Struct, frozen=True, gc=False):
    """The webhook a finished run owes, kept in the outbox until it is delivered; DELETE of the run leaves it alone."""

    id: str
    run_id: str
    tenant: str
    url: str
    head: Json
    """The body's JSON object without its result."""
    result: Body | None = None

    @property
    def receiver(self) -> str:
        """Host and port the notice goes to: those of one receiver wait for each other and for nobody else's."""
        authority = re.split(r"[/?#]", self.url.partition("//")[2], maxsplit=1)[0]
        return authority.rpartition("@")[2].lower()


class AttemptEnd(StrEnum):
    """How an attempt ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    LOST = "lost"
    HANDED_BACK = "handed_back"
    WAITING = "waiting"


TAKEN = frozenset({AttemptEnd.CANCELLED, AttemptEnd.LOST, AttemptEnd.WAITING})
"""How an attempt ends when others take the run from it, or it lets go of it."""


class Attempt(msgspec.Struct, frozen=True, gc=False):
    """One try at a run that has ended, by one worker, under one lease. Its random id was the fence.

    The attempt that goes on is in its run's head and nowhere else.
    """

    id: str
    run_id: str
    number: int
    worker_id: str
    started_at: int
    ended_at: int
    end: AttemptEnd
