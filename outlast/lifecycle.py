"""THE state machine: one table of rules and a pure `decide`.

`decide(run, command, now)` says what a command makes of a run. It reads no clock, no store and no setting,
so it can be tried on every state there is. The store calls it inside its transaction and writes what it says;
nothing else in Outlast changes a run. The diagram in docs/architecture.md is drawn from `RULES`.
"""

from collections.abc import Callable
from zlib import crc32

import msgspec

from outlast.clock import iso
from outlast.errors import Fenced, Refused, RunActive, RunFinished
from outlast.journal import Entry
from outlast.runs import (
    FINAL,
    Attempt,
    AttemptEnd,
    Body,
    Draft,
    Event,
    EventKind,
    JournalMode,
    Json,
    Notice,
    Run,
    RunError,
    RunState,
)
from outlast.step_rules import answered, begun, ended
from outlast.steps import Step, StepState
from outlast.transitions import (
    BUDGET,
    Admit,
    Afford,
    AnswerStep,
    Append,
    BeginStep,
    Cancel,
    Cause,
    Claim,
    Command,
    Delete,
    Due,
    EndStep,
    Enrol,
    Fail,
    HandBack,
    Lose,
    OfAttempt,
    Succeed,
    Transition,
    Wait,
    Wake,
)

MAX_LOST = 3
"""Attempts whose own process may die before the run is given up as `worker_lost`."""
MAX_UNPROVEN = 20
"""Attempts that may start without any durable progress between them, whatever ended them."""

QUEUED, RUNNING, WAITING = RunState.QUEUED, RunState.RUNNING, RunState.WAITING
SUCCEEDED, FAILED, CANCELLED = RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELLED

Handler = Callable[[Run, Command, int], Transition]


class Rule(msgspec.Struct, frozen=True, gc=False):
    """In these states, this command leads to one of those states."""

    sources: frozenset[RunState]
    command: type[Command]
    targets: frozenset[RunState]
    says: str
    handler: Handler


def birth(run: Run) -> Transition:
    """The first transition: a submitted run is queued, with its first event; ready, unless it is for later."""
    return _move(run, run.created_at, [_status(run)])


def decide(run: Run, command: Command, now: int) -> Transition:
    """What `command` makes of `run` at `now`; raises `Refused` (or a subclass) where the table has no rule.

    Pure. A command of an attempt that no longer holds the run is `Fenced`, whatever else is true.
    """
    if isinstance(command, OfAttempt) and command.attempt_id != run.attempt_id:
        raise Fenced(f"Attempt {command.attempt_id} no longer holds run {run.id}; nothing it writes counts.")
    rule = _BY_PAIR.get((run.state, type(command)))
    if rule is None:
        raise _refusal(run, command)
    return rule.handler(run, command, now)


def _refusal(run: Run, command: Command) -> Refused:
    if isinstance(command, Delete):
        return RunActive(f"Run {run.id} is {run.status}; cancel it or let it end before deleting it.")
    if run.finished_at is not None and isinstance(command, Cancel):
        when = iso(run.finished_at)
        return RunFinished(f"Run {run.id} {run.status} at {when}; a finished run cannot be cancelled.")
    if run.finished_at is not None and isinstance(command, Afford):
        return RunFinished(f"Run {run.id} has ended; what it may use no longer matters.")
    return Refused(f"Run {run.id} is {run.state}; {type(command).__name__.lower()} has no meaning there.")


def _claim(run: Run, command: Command, now: int) -> Transition:
    assert isinstance(command, Claim)
    number = run.attempt + 1
    running = msgspec.structs.replace(
        run,
        state=RUNNING,
        ready=False,
        due_at=None,
        attempt_id=command.attempt_id,
        attempt=number,
        attempt_at=now,
        worker_id=command.worker_id,
        unproven=run.unproven + 1,
        started_at=run.started_at if run.started_at is not None else now,
    )
    return _move(running, now, [_status(running, attempt=number)])


def _append(run: Run, command: Command, now: int) -> Transition:
    assert isinstance(command, Append)
    step_done = command.progress is not None and (command.progress.steps_completed or 0) > (
        run.progress.steps_completed or 0
    )
    proven = command.progress is not None or command.usage is not None
    changed = msgspec.structs.replace(
        run,
        progress=command.progress or run.progress,
        usage=run.usage + command.usage if command.usage else run.usage,
        unproven=0 if proven else run.unproven,
        solo=run.solo and not (step_done or command.usage is not None),
    )
    moved = _move(changed, now, list(command.drafts))
    if command.call is None:
        return moved
    seq = max(event.seq for event in moved.events if event.kind is EventKind.MODEL_CALL)
    return msgspec.structs.replace(moved, entry=Entry(run.generation, seq, command.call))


def _begin_step(run: Run, command: Command, now: int) -> Transition:
    """Nothing changes in the run unless nobody knows whether the step was done: then it waits for who does."""
    assert isinstance(command, BeginStep)
    step = begun(run, command, now)
    if step.state is StepState.UNSURE:
        waiting = msgspec.structs.replace(run, waiting_kind="tool", waiting=_asked(step, now), unproven=0)
        moved = _release(waiting, WAITING, AttemptEnd.WAITING, now, now, reason="waiting_tool")
    elif step.state is StepState.RUNNING:
        moved = Transition(run)
    else:
        moved = _move(run, now, [_told(step, replayed=True)])
    return msgspec.structs.replace(moved, step=step)


def _asked(step: Step, now: int) -> msgspec.Raw:
    asked: dict[str, object] = {"step": step.key, "name": step.name}
    if step.input is not None:
        asked["input"] = msgspec.Raw(step.input)
    return msgspec.Raw(_encode({**asked, "since": iso(now)}))


def _end_step(run: Run, command: Command, now: int) -> Transition:
    """A step that is done is durable progress: no later attempt does it again."""
    assert isinstance(command, EndStep)
    step = ended(run, command, now)
    if step is command.found:
        return Transition(run, step=step)
    proven = step.state is StepState.DONE
    changed = msgspec.structs.replace(
        run, unproven=0 if proven else run.unproven, solo=run.solo and not proven
    )
    return msgspec.structs.replace(_move(changed, now, [_told(step)]), step=step)


def _answer_step(run: Run, command: Command, now: int) -> Transition:
    assert isinstance(command, AnswerStep)
    step = answered(run, command, now)
    woken = _woken(run)
    moved = _move(woken, now, [_told(step, answer=command.answer.value), _status(woken)])
    return msgspec.structs.replace(moved, step=step)


def _told(step: Step, **words: str | bool) -> Draft:
    """The event of a step that has come to something."""
    data: dict[str, object] = {"step": step.key, "name": step.name, "state": step.state.value}
    if step.ended_at is not None:
        data["ms"] = step.ended_at - step.started_at
    if step.error is not None:
        data["error"] = step.error
    return Draft(EventKind.STEP, _encode({**data, **words}))


def _succeed(run: Run, command: Command, now: int) -> Transition:
    assert isinstance(command, Succeed)
    progress = msgspec.structs.replace(run.progress, percentage=100.0)
    done = msgspec.structs.replace(run, progress=progress, result_size=command.result.size)
    return _end(done, SUCCEEDED, AttemptEnd.SUCCEEDED, now, result=command.result)


def _fail(run: Run, command: Command, now: int) -> Transition:
    assert isinstance(command, Fail)
    failed = msgspec.structs.replace(run, failures=run.failures + 1)
    if command.retryable and failed.failures < run.retry.max_attempts:
        pause_ms = round(
            run.retry.backoff_s * 2 ** (failed.failures - 1) * 1000 * _jitter(command.attempt_id)
        )
        return _again(failed, now, command.error, due_at=now + pause_ms)
    return _end(failed, FAILED, AttemptEnd.FAILED, now, error=command.error)


def _again(run: Run, now: int, why: RunError, *, due_at: int) -> Transition:
    """A retry of what failed: not of the last answer alone, which may be why, or of none of them."""
    if run.retry.journal is JournalMode.FRESH:
        run = msgspec.structs.replace(run, generation=run.generation + 1)
        return _requeue(run, AttemptEnd.FAILED, now, now, why, due_at=due_at)
    requeued = _requeue(run, AttemptEnd.FAILED, now, now, why, due_at=due_at)
    return msgspec.structs.replace(requeued, forgets=run.generation)


def _jitter(attempt_id: str) -> float:
    """0.8 to 1.2, out of an id that was drawn at random: what failed together is spread, and the rules stay pure."""
    return 0.8 + 0.4 * crc32(attempt_id.encode()) / 2**32


def _lose(run: Run, command: Command, now: int) -> Transition:
    assert isinstance(command, Lose)
    own = command.cause is Cause.OWN_PROCESS
    lost = msgspec.structs.replace(
        run,
        lost=run.lost + own,
        solo=run.solo or command.cause is Cause.SHARED_HOST,
    )
    why = RunError("worker_lost", _LOST_WORDS[command.cause])
    return _give_up_or_requeue(lost, AttemptEnd.LOST, min(command.at, now), now, why)


_LOST_WORDS = {
    Cause.OWN_PROCESS: "The agent's process died.",
    Cause.SHARED_HOST: "The host process that carried the agent died.",
    Cause.WORKER: "The worker was lost.",
}


def _hand_back(run: Run, command: Command, now: int) -> Transition:
    why = RunError("handed_back", "The worker shut down and handed the run back.")
    return _give_up_or_requeue(run, AttemptEnd.HANDED_BACK, now, now, why)


def _wait(run: Run, command: Command, now: int) -> Transition:
    assert isinstance(command, Wait)
    if command.kind == BUDGET and run.budget.is_left(run.usage):
        why = RunError("budget_raised", "The run was given more while it was about to wait for it.")
        return _requeue(run, AttemptEnd.WAITING, now, now, why)
    waiting = msgspec.structs.replace(run, waiting_kind=command.kind, waiting=command.detail, unproven=0)
    return _release(waiting, WAITING, AttemptEnd.WAITING, now, now, reason=f"waiting_{command.kind}")


def _afford(run: Run, command: Command, now: int) -> Transition:
    assert isinstance(command, Afford)
    budget = command.change(run.budget)
    changed = msgspec.structs.replace(run, budget=budget)
    drafts = [Draft(EventKind.BUDGET, _encode(budget.allowed))]
    if run.waiting_kind == BUDGET and budget.is_left(run.usage):
        changed = _woken(changed)
        drafts.append(_status(changed))
    return _move(changed, now, drafts)


def _wake(run: Run, command: Command, now: int) -> Transition:
    woken = _woken(run)
    return _move(woken, now, [_status(woken)])


def _woken(run: Run) -> Run:
    return msgspec.structs.replace(run, state=QUEUED, ready=True, waiting_kind=None, waiting=None)


def _due(run: Run, command: Command, now: int) -> Transition:
    return Transition(msgspec.structs.replace(run, ready=run.blocked_by is None, due_at=None))


def _admit(run: Run, command: Command, now: int) -> Transition:
    assert isinstance(command, Admit)
    free = command.blocked_by is None and run.due_at is None
    return Transition(msgspec.structs.replace(run, blocked_by=command.blocked_by, ready=free))


def _enrol(run: Run, command: Command, now: int) -> Transition:
    assert isinstance(command, Enrol)
    enrolled = msgspec.structs.replace(run, lanes=command.lanes)
    if run.state is not QUEUED:
        return Transition(enrolled)
    free = command.blocked_by is None and run.due_at is None
    return Transition(msgspec.structs.replace(enrolled, blocked_by=command.blocked_by, ready=free))


def _cancel(run: Run, command: Command, now: int) -> Transition:
    return _end(run, CANCELLED, AttemptEnd.CANCELLED, now)


def _delete(run: Run, command: Command, now: int) -> Transition:
    return Transition(run)


def _give_up_or_requeue(run: Run, end: AttemptEnd, ended_at: int, now: int, why: RunError) -> Transition:
    executed_ms = run.executed_ms + _attempt_ms(run, ended_at)
    if executed_ms >= run.timeout_s * 1000:
        error = RunError("timeout", f"The run used up its {run.timeout_s} s of execution time.")
    elif run.lost >= MAX_LOST:
        error = RunError(
            "worker_lost", f"{why.message} That was the run's loss number {run.lost}; it is given up."
        )
    elif run.unproven >= MAX_UNPROVEN:
        error = RunError(
            "worker_lost",
            f"{why.message} {run.unproven} attempts began without any progress; it is given up.",
        )
    else:
        return _requeue(run, end, ended_at, now, why)
    return _end(run, FAILED, end, now, error=error, ended_at=ended_at)


def _requeue(
    run: Run, end: AttemptEnd, ended_at: int, now: int, why: RunError, *, due_at: int | None = None
) -> Transition:
    queued = msgspec.structs.replace(run, due_at=due_at, ready=due_at is None)
    return _release(queued, QUEUED, end, ended_at, now, reason=why.code, message=why.message)


def _release(run: Run, state: RunState, end: AttemptEnd, ended_at: int, now: int, **words: str) -> Transition:
    """Take the run from its attempt without ending it."""
    freed = msgspec.structs.replace(_without_attempt(run, ended_at), state=state)
    drafts = [_status(freed, attempt=run.attempt, **words)]
    return _move(freed, now, drafts, attempt=_ended(run, end, ended_at))


def _end(
    run: Run,
    state: RunState,
    end: AttemptEnd,
    now: int,
    *,
    result: Body | None = None,
    error: RunError | None = None,
    ended_at: int | None = None,
) -> Transition:
    """The one way to a final state: status, terminal event and webhook notice together."""
    ended_at = now if ended_at is None else ended_at
    final = msgspec.structs.replace(
        _without_attempt(run, ended_at),
        state=state,
        ready=False,
        due_at=None,
        blocked_by=None,
        waiting_kind=None,
        waiting=None,
        finished_at=now,
        error=error,
    )
    return _move(
        final,
        now,
        [Draft(EventKind.COMPLETE, _encode(_outcome(final)))],
        attempt=_ended(run, end, ended_at),
        result=result,
        notice=_notice(final, result),
    )


def _move(
    run: Run,
    now: int,
    drafts: list[Draft],
    *,
    attempt: Attempt | None = None,
    result: Body | None = None,
    notice: Notice | None = None,
) -> Transition:
    """Number the events and make the transition."""
    events = tuple(
        Event(run.id, run.seq + n, draft.kind, now, draft.data, attempt.id if attempt else run.attempt_id)
        for n, draft in enumerate(drafts, 1)
    )
    numbered = msgspec.structs.replace(run, seq=run.seq + len(events)) if events else run
    return Transition(numbered, events, attempt, result, notice)


def _without_attempt(run: Run, ended_at: int) -> Run:
    return msgspec.structs.replace(
        run,
        attempt_id=None,
        attempt_at=None,
        worker_id=None,
        executed_ms=run.executed_ms + _attempt_ms(run, ended_at),
    )


def _attempt_ms(run: Run, ended_at: int) -> int:
    return max(0, ended_at - run.attempt_at) if run.attempt_at is not None else 0


def _ended(run: Run, end: AttemptEnd, ended_at: int) -> Attempt | None:
    if run.attempt_id is None or run.attempt_at is None or run.worker_id is None:
        return None
    return Attempt(run.attempt_id, run.id, run.attempt, run.worker_id, run.attempt_at, ended_at, end)


def _status(run: Run, **words: str | int) -> Draft:
    return Draft(EventKind.STATUS, _encode({"status": run.status.value, **words}))


def _outcome(run: Run) -> dict[str, str]:
    outcome = {"status": run.status.value, "job_id": run.id}
    if run.error is not None:
        outcome |= {"error": run.error.message, "error_code": run.error.code}
    return outcome


def _notice(run: Run, result: Body | None) -> Notice | None:
    if run.webhook_url is None or run.finished_at is None:
        return None
    body: dict[str, object] = {
        **_outcome(run),
        "duration_seconds": run.executed_ms / 1000,
        "created_at": iso(run.created_at),
        "completed_at": iso(run.finished_at),
    }
    if (spent := run.usage.spent) is not None:
        body["usage"] = spent
    if run.session_id is not None:
        body["session_id"] = run.session_id
    if run.metadata is not None:
        body["metadata"] = run.metadata
    return Notice(f"msg_{run.id}", run.id, run.tenant, run.webhook_url, _encode(body), result)


_encode: Callable[[object], Json] = msgspec.json.Encoder().encode


def _rule(sources: str, command: type[Command], targets: str, handler: Handler, says: str) -> Rule:
    return Rule(_states(sources), command, _states(targets), says, handler)


def _states(names: str) -> frozenset[RunState]:
    return frozenset(RunState(name) for name in names.split())


RULES: tuple[Rule, ...] = (
    _rule("queued", Claim, "running", _claim, "a worker with a free place takes the run"),
    _rule(
        "queued",
        Due,
        "queued",
        _due,
        "its time has come: the one asked for, or the end of the pause before a retry",
    ),
    _rule("queued", Admit, "queued", _admit, "a run of its session, agent or tenant has made room"),
    *(
        _rule(state, Enrol, state, _enrol, "its session gets a limit")
        for state in ("queued", "running", "waiting")
    ),
    _rule("running", Append, "running", _append, "the attempt records events, progress and usage"),
    _rule(
        "running",
        BeginStep,
        "running waiting",
        _begin_step,
        "the attempt comes to a step; if one died over it that may be done once only, a person has to decide",
    ),
    _rule("running", EndStep, "running", _end_step, "the attempt has done a step, or failed to"),
    _rule("running", Succeed, "succeeded", _succeed, "the attempt has a result"),
    _rule(
        "running",
        Fail,
        "failed queued",
        _fail,
        "the agent failed or its time is up; again if a retry was asked for",
    ),
    _rule("running", Lose, "queued failed", _lose, "the attempt's process, host or worker died"),
    _rule("running", HandBack, "queued failed", _hand_back, "the worker shuts down and gives the run back"),
    _rule("running", Wait, "waiting queued", _wait, "the run needs a person, a budget or a decision"),
    _rule("waiting", Wake, "queued", _wake, "what it waited for is there"),
    *(
        _rule(state, Afford, targets, _afford, "the client changes what the run may use")
        for state, targets in (("queued", "queued"), ("running", "running"), ("waiting", "waiting queued"))
    ),
    _rule("waiting", AnswerStep, "queued", _answer_step, "a person has decided over the step it waited for"),
    _rule("queued running waiting", Cancel, "cancelled", _cancel, "the client cancels"),
    _rule(
        "succeeded failed cancelled",
        Delete,
        "succeeded failed cancelled",
        _delete,
        "the client deletes the record",
    ),
)

_BY_PAIR = {(state, rule.command): rule for rule in RULES for state in rule.sources}
assert FINAL.isdisjoint({s for rule in RULES if rule.command is not Delete for s in rule.sources})
