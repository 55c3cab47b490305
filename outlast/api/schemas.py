"""The JSON of the wire. `openapi.yaml` says the same in full; tests hold the two together.

What is absent is left out, never null.
"""

from datetime import datetime
from typing import Annotated, Literal

import msgspec

from outlast.births import MAX_AHEAD_S
from outlast.runs import Allowed, JournalMode, JsonObject, RunStatus, Spent
from outlast.schedules import Missed

Text255 = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
MAX_BATCH = 1000
MAX_RETRY_ATTEMPTS = 10
MAX_BACKOFF_S = 3600
MAX_PRIORITY_S = 7 * 86_400
MAX_RUNNING = 1_000_000
MAX_COST_USD = 1_000_000
MAX_TOKENS = 10**12


class RetryBody(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """What to do when the agent itself fails: attempts in all, the pause before the second, what it begins with."""

    max_attempts: Annotated[int, msgspec.Meta(ge=1, le=MAX_RETRY_ATTEMPTS)] = 1
    backoff_s: Annotated[float, msgspec.Meta(ge=0, le=MAX_BACKOFF_S)] = 1.0
    journal: JournalMode = JournalMode.RESUME


class SubmitBody(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """The body of a submit. Null means absent, except for the prompt."""

    prompt: str
    agent_file: Annotated[str, msgspec.Meta(min_length=1, max_length=1024)] | None = None
    agent_yaml: Annotated[str, msgspec.Meta(min_length=1)] | None = None
    framework: Text255 | None = None
    agent: Text255 | None = None
    timeout: Annotated[int, msgspec.Meta(ge=1)] | None = None
    webhook_url: Annotated[str, msgspec.Meta(min_length=1, max_length=2048)] | None = None
    session_id: Text255 | None = None
    config: JsonObject | None = None
    metadata: JsonObject | None = None
    idempotency_key: str | None = None
    idempotency_scope: Literal["none", "session", "global"] | None = None
    recipe_name: Text255 | None = None
    recipe_config: JsonObject | None = None
    priority: Annotated[int, msgspec.Meta(ge=-MAX_PRIORITY_S, le=MAX_PRIORITY_S)] | None = None
    queue: str | None = None
    retry: RetryBody | None = None
    run_at: Annotated[datetime, msgspec.Meta(tz=True)] | None = None
    delay: Annotated[float, msgspec.Meta(ge=0, le=MAX_AHEAD_S)] | None = None
    max_cost_usd: Annotated[float, msgspec.Meta(gt=0, le=MAX_COST_USD)] | None = None
    max_tokens: Annotated[int, msgspec.Meta(ge=1, le=MAX_TOKENS)] | None = None


def nano_usd(usd: float | None) -> int | None:
    """Dollars as the engine counts them; too little to be counted is the least that can be."""
    return None if usd is None else max(1, round(usd * 1e9))


class BatchBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a batch: each of the runs is a `SubmitBody`, read by itself."""

    runs: Annotated[list[msgspec.Raw], msgspec.Meta(min_length=1, max_length=MAX_BATCH)]


class ScheduleBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a new schedule. Null means absent where there is a default."""

    name: Text255
    cron: Text255
    run: msgspec.Raw
    """A `SubmitBody`, read by itself."""
    timezone: Text255 | None = None
    missed: Missed | None = None
    paused: bool | None = None


class SchedulePatch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to change of a schedule; the rest stays."""

    name: Text255 | None = None
    cron: Text255 | None = None
    run: msgspec.Raw = msgspec.Raw()
    timezone: Text255 | None = None
    missed: Missed | None = None
    paused: bool | None = None


class ScheduleView(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """A schedule as a client sees it."""

    schedule_id: str
    name: str
    cron: str
    timezone: str
    missed: Missed
    paused: bool
    run: msgspec.Raw
    created_at: str
    next_fire_at: str | None = None
    last_fire_at: str | None = None
    last_run_id: str | None = None
    last_error: str | None = None


class ScheduleListView(msgspec.Struct, frozen=True, gc=False):
    """A page of schedules, newest first."""

    schedules: list[ScheduleView]
    total: int
    page: int
    page_size: int


class Accepted(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """The answer to a submit."""

    job_id: str
    status: RunStatus
    created_at: str
    poll_url: str
    stream_url: str
    replayed: bool = False
    """In a batch: the idempotency key has led to a run that was there. (A single submit says so in a header.)"""


class ProgressView(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """How far a run is; the percentage is always said."""

    percentage: float
    current_step: str | None = None
    steps_completed: int | None = None
    steps_total: int | None = None


class StatusView(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """A run as a client sees it."""

    job_id: str
    status: RunStatus
    progress: ProgressView
    created_at: str
    framework: str
    runner: str
    timeout: int
    attempt: int = 0
    run_at: str | None = None
    started_at: str | None = None
    completed_at: str | None = None
    duration_seconds: float | None = None
    session_id: str | None = None
    agent: str | None = None
    schedule_id: str | None = None
    forked_from: str | None = None
    queue: str | None = None
    blocked_by: str | None = None
    error: str | None = None
    error_code: str | None = None
    retry_after: int | None = None
    usage: Spent | None = None
    budget: Allowed | None = None
    waiting: msgspec.Raw | None = None
    metadata: msgspec.Raw | None = None


class ListView(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """A page of runs, newest first."""

    jobs: list[msgspec.Raw]
    """Each a `StatusView`, rendered."""
    total: int
    page: int
    page_size: int
    total_is_lower_bound: bool = False
    next_cursor: str | None = None


class SessionBody(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """What may be said of a session."""

    max_running: Annotated[int, msgspec.Meta(ge=1, le=MAX_RUNNING)] | None = None


class SessionView(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """A session as a client sees it."""

    session_id: str
    created_at: str
    total_jobs: int
    by_status: dict[str, int]
    max_running: int | None = None


class SessionListView(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """A page of sessions, newest first."""

    sessions: list[SessionView]
    total: int
    page: int
    page_size: int
    total_is_lower_bound: bool = False
    next_cursor: str | None = None


class PlacesView(msgspec.Struct, frozen=True, gc=False):
    """How many attempts a worker carries at once, and how many it does."""

    total: int
    taken: int


class WorkerView(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """A worker as a client sees it."""

    worker_id: str
    name: str
    host: str
    pid: int
    version: str
    state: str
    started_at: str
    lease_until: str
    lost_at: str | None = None
    runners: list[str]
    queues: list[str] | None = None
    has_model: bool
    shared: PlacesView
    isolated: PlacesView
    running: int
    job_ids: list[str]


class WorkerListView(msgspec.Struct, frozen=True, gc=False):
    """The workers, oldest first."""

    workers: list[WorkerView]


class ResultView(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """The result of a succeeded run: in `result`, or behind `result_url` when it is large."""

    job_id: str
    status: RunStatus
    result: msgspec.Raw | None = None
    result_url: str | None = None
    result_size: int | None = None
    duration_seconds: float
    created_at: str
    completed_at: str
    usage: Spent | None = None


class Cancelled(msgspec.Struct, frozen=True, gc=False):
    """The answer to a cancel."""

    job_id: str
    status: RunStatus
    cancelled_at: str


class Health(msgspec.Struct, frozen=True, gc=False):
    """The answer of `/health` and `/ready`."""

    status: str


class Stats(msgspec.Struct, frozen=True, gc=False):
    """The caller's runs by status, and what this process is doing."""

    total_jobs: int
    by_status: dict[str, int]
    open_streams: int
    runners: list[str]
    version: str
