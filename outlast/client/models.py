"""What the server answers, typed. Fields that this version does not know are in `body`, the JSON as it came."""

from datetime import datetime
from typing import Literal, TypeVar

import msgspec

Status = Literal["queued", "running", "succeeded", "failed", "cancelled"]

FINAL: frozenset[Status] = frozenset({"succeeded", "failed", "cancelled"})


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """Anything the server answers."""

    body: bytes = msgspec.field(default=b"", name="")
    """The JSON it was read from; its name on the wire is empty, so no field of the server's can land here."""


class Accepted(Answer, frozen=True, kw_only=True):
    """A submitted run: it is on the server's disk."""

    job_id: str
    status: Status
    created_at: datetime
    poll_url: str
    stream_url: str
    replayed: bool = msgspec.field(default=False, name="(replayed)")
    """The idempotency key was known: this is the run that already was (from the answer's header)."""


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How far a run is, as measured or as its agent reported it."""

    percentage: float = 0.0
    current_step: str | None = None
    steps_completed: int | None = None
    steps_total: int | None = None


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """What the run's model calls have cost so far."""

    model_calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float | None = None
    """Of the calls whose price is known; null while that of none is."""
    unpriced_calls: int = 0
    """Calls that `cost_usd` lacks."""


class Budget(msgspec.Struct, frozen=True, kw_only=True):
    """What a run may use before it waits for more; null is no limit."""

    max_cost_usd: float | None = None
    max_tokens: int | None = None


class Run(Answer, frozen=True, kw_only=True):
    """Where a run is."""

    job_id: str
    status: Status
    created_at: datetime
    progress: Progress = Progress()
    started_at: datetime | None = None
    completed_at: datetime | None = None
    duration_seconds: float | None = None
    """Time of execution, once it has ended; waiting in the queue does not count."""
    run_at: datetime | None = None
    """When a queued run may start at the earliest."""
    session_id: str | None = None
    agent: str | None = None
    schedule_id: str | None = None
    forked_from: str | None = None
    """The finished run that this one asks again for."""
    error: str | None = None
    error_code: str | None = None
    retry_after: float | None = None
    attempt: int | None = None
    timeout: int | None = None
    framework: str | None = None
    runner: str | None = None
    metadata: dict[str, object] | None = None
    usage: Usage | None = None
    budget: Budget | None = None
    waiting: dict[str, object] | None = None
    """What a run that holds nothing waits for: a person, a budget, a tool decision."""

    @property
    def is_final(self) -> bool:
        return self.status in FINAL


class Result(Answer, frozen=True, kw_only=True):
    """What a succeeded run returned."""

    job_id: str
    status: Status
    created_at: datetime
    result: object = None
    """Text from most agents; any JSON value may be one."""
    duration_seconds: float | None = None
    completed_at: datetime | None = None
    usage: Usage | None = None
    result_url: str | None = None
    """Where a large result is by itself; the clients have fetched it from there."""


class Cancelled(Answer, frozen=True, kw_only=True):
    """A run that was cancelled."""

    job_id: str
    status: Status
    cancelled_at: datetime | None = None


class Page(Answer, frozen=True, kw_only=True):
    """Some of the runs, newest first."""

    jobs: tuple[Run, ...]
    total: int
    page: int | None = None
    page_size: int | None = None
    next_cursor: str | None = None
    """Where the next page begins; absent on the last one."""
    total_is_lower_bound: bool = False


class Schedule(Answer, frozen=True, kw_only=True):
    """A run that comes again and again."""

    schedule_id: str
    name: str
    cron: str
    timezone: str
    missed: str
    paused: bool
    run: dict[str, object]
    """What each fire submits."""
    created_at: datetime
    next_fire_at: datetime | None = None
    last_fire_at: datetime | None = None
    last_run_id: str | None = None
    last_error: str | None = None
    """Why the last fire made no run."""


class SchedulePage(Answer, frozen=True, kw_only=True):
    """Some of the schedules, newest first."""

    schedules: tuple[Schedule, ...]
    total: int
    page: int | None = None
    page_size: int | None = None


class Places(msgspec.Struct, frozen=True, kw_only=True):
    """How many attempts a worker carries at once, and how many it does."""

    total: int = 0
    taken: int = 0


class Worker(msgspec.Struct, frozen=True, kw_only=True):
    """What carries out runs."""

    worker_id: str
    state: Literal["live", "draining", "lost"]
    started_at: datetime
    name: str = ""
    host: str = ""
    pid: int | None = None
    version: str = ""
    lease_until: datetime | None = None
    lost_at: datetime | None = None
    runners: tuple[str, ...] = ()
    queues: tuple[str, ...] | None = None
    """The queues it serves; null is all of them."""
    has_model: bool = False
    shared: Places = Places()
    isolated: Places = Places()
    running: int = 0
    """How many runs of the caller's it holds; `job_ids` names some."""
    job_ids: tuple[str, ...] = ()


class Workers(Answer, frozen=True, kw_only=True):
    """The workers that live or were lost within the last day, oldest first."""

    workers: tuple[Worker, ...]


class ModelCall(msgspec.Struct, frozen=True, kw_only=True):
    """A model call of a run that is over. What the gateway did not say is null."""

    seq: int
    attempt: int
    at: datetime
    how: str = "live"
    """`live`, or `exact` or `normalised` if the journal had it."""
    model: str | None = None
    path: str | None = None
    status: int | None = None
    streamed: bool | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost_usd: float | None = None
    ms: int | None = None
    tries: int | None = None
    upstream: str | None = None
    """Who answered, where the operator has named it."""
    alias: str | None = None
    """By which alias, when it was not the one that was asked."""
    diverged: dict[str, object] | None = None
    """What the journal had instead, and where the two differ."""
    error: str | None = None


class ModelCalls(Answer, frozen=True, kw_only=True):
    """Some of a run's model calls, in the order in which they were finished."""

    calls: tuple[ModelCall, ...]
    next_after: int | None = None
    """Asks for what follows; null at the end."""


class Step(Answer, frozen=True, kw_only=True):
    """A step of a run: something that its agent does once, and gets back when it is taken up again."""

    step: str
    """Its key."""
    name: str
    effect: str
    """`read`, `idempotent` or `once`."""
    state: str
    """`running`, `unsure` (the run waits for an answer), `again`, `done` or `failed`."""
    idempotency_key: str
    started_at: datetime
    ended_at: datetime | None = None
    ms: int | None = None
    answer: str | None = None
    input: object = None
    result: object = None
    """In a list only if it is small."""
    result_size: int | None = None
    error: str | None = None


class StepPage(Answer, frozen=True, kw_only=True):
    """Some of a run's steps, in the order in which they were begun."""

    steps: tuple[Step, ...]
    total: int
    page: int
    page_size: int


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened to a run. Numbered events are durable; token deltas have no number and may be lost."""

    event: str
    data: dict[str, object] = {}
    id: int | None = None

    @property
    def is_last(self) -> bool:
        return self.event == "complete"


_A = TypeVar("_A", bound=Answer)


def read(body: bytes, kind: type[_A]) -> _A:
    """Decode an answer and keep its text; raises `msgspec.DecodeError` for one that is not what it should be."""
    return msgspec.structs.replace(msgspec.json.decode(body, type=kind), body=body)


class _Jobs(msgspec.Struct):
    jobs: list[msgspec.Raw]


def read_page(body: bytes) -> Page:
    """Decode a page; its runs keep their text too."""
    jobs = msgspec.json.decode(body, type=_Jobs).jobs
    return msgspec.structs.replace(read(body, Page), jobs=tuple(read(bytes(job), Run) for job in jobs))


class _Schedules(msgspec.Struct):
    schedules: list[msgspec.Raw]


def read_schedules(body: bytes) -> SchedulePage:
    """Decode a page; its schedules keep their text too."""
    found = msgspec.json.decode(body, type=_Schedules).schedules
    schedules = tuple(read(bytes(one), Schedule) for one in found)
    return msgspec.structs.replace(read(body, SchedulePage), schedules=schedules)
