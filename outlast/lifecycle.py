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
from outlast.moves import attempt_ms, encode, end, move, release, requeue, status
from outlast.runs import (
    FINAL,
    AttemptEnd,
    Draft,
    EventKind,
    JournalMode,
    Progress,
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
"""Of a run's attempts whose own process died, the one at which it is given up as `worker_lost`.

Unless it had got further than those before it: then the run may lose more, up to `MAX_LOST_PROVEN` in all.
"""
MAX_LOST_PROVEN = 20
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
    return move(run, run.created_at, [status(run)])


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
    return move(running, now, [status(running, attempt=number)])


def _append(run: Run, command: Command, now: int) -> Transition:
    assert isinstance(command, Append)
    step_done = command.progress is not None and _steps(command.progress) > _steps(run.progress)
    further = command.progress is not None and command.progress.percentage > run.progress.percentage
    proven = step_done or further or command.usage is not None
    changed = msgspec.structs.replace(
        run,
        progress=command.progress or run.progress,
        usage=run.usage + command.usage if command.usage else run.usage,
        unproven=0 if proven else run.unproven,
        solo=run.solo and not (step_done or command.usage is not None),
    )
    moved = move(changed, now, list(command.drafts))
    if command.call is None:
        return moved
    seq = max(event.seq for event in moved.events if event.kind is EventKind.MODEL_CALL)
    return msgspec.structs.replace(moved, entry=Entry(run.generation, seq, command.call))


def _steps(progress: Progress) -> int:
    return progress.steps_completed or 0


def _begin_step(run: Run, command: Command, now: int) -> Transition:
    """Nothing changes in the run unless nobody knows whether the step was done: then it waits for who does."""
    assert isinstance(command, BeginStep)
    step = begun(run, command, now)
    if step.state is StepState.UNSURE:
        waiting = msgspec.structs.replace(run, waiting_kind="tool", waiting=_asked(step, now), unproven=0)
        moved = release(waiting, WAITING, AttemptEnd.WAITING, now, now, reason="waiting_tool")
    elif step.state is StepState.RUNNING:
        moved = Transition(run)
    else:
        moved = move(run, now, [_told(step, replayed=True)])
    return msgspec.structs.replace(moved, step=step)


def _asked(step: Step, now: int) -> msgspec.Raw:
    asked: dict[str, object] = {"step": step.key, "name": step.name}
    if step.input is not None:
        asked["input"] = msgspec.Raw(step.input)
    return msgspec.Raw(encode({**asked, "since": iso(now)}))


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
    return msgspec.structs.replace(move(changed, now, [_told(step)]), step=step)


def _answer_step(run: Run, command: Command, now: int) -> Transition:
    assert isinstance(command, AnswerStep)
    step = answered(run, command, now)
    woken = _woken(run)
    moved = move(woken, now, [_told(step, answer=command.answer.value), status(woken)])
    return msgspec.structs.replace(moved, step=step)


def _told(step: Step, **words: str | bool) -> Draft:
    """The event of a step that has come to something."""
    data: dict[str, object] = {"step": step.key, "name": step.name, "state": step.state.value}
    if step.ended_at is not None and "answer" not in words:
        data["ms"] = step.ended_at - step.started_at
    if step.error is not None:
        data["error"] = step.error
    return Draft(EventKind.STEP, encode({**data, **words}))


def _succeed(run: Run, command: Command, now: int) -> Transition:
    assert isinstance(command, Succeed)
    progress = msgspec.structs.replace(run.progress, percentage=100.0)
    done = msgspec.structs.replace(run, progress=progress, result_size=command.result.size)
    return end(done, SUCCEEDED, AttemptEnd.SUCCEEDED, now, result=command.result)


def _fail(run: Run, command: Command, now: int) -> Transition:
    assert isinstance(command, Fail)
    failed = msgspec.structs.replace(run, failures=run.failures + 1)
    if command.retryable and failed.failures < run.retry.max_attempts:
        pause_ms = round(
            run.retry.backoff_s * 2 ** (failed.failures - 1) * 1000 * _jitter(command.attempt_id)
        )
        return _again(failed, now, command.error, due_at=now + pause_ms)
    return end(failed, FAILED, AttemptEnd.FAILED, now, error=command.error)


def _again(run: Run, now: int, why: RunError, *, due_at: int) -> Transition:
    """A retry of what failed: not of the last answer alone, which may be why, or of none of them."""
    if run.retry.journal is JournalMode.FRESH:
        run = msgspec.structs.replace(run, generation=run.generation + 1)
        return requeue(run, AttemptEnd.FAILED, now, now, why, due_at=due_at)
    requeued = requeue(run, AttemptEnd.FAILED, now, now, why, due_at=due_at)
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
    return _give_up_or_requeue(lost, AttemptEnd.LOST, min(command.at, now), now, why, has_died=own)


def _is_hopeless(run: Run) -> bool:
    """The attempt that died now was one too many."""
    got_no_further = run.unproven > 0
    return run.lost >= (MAX_LOST if got_no_further else MAX_LOST_PROVEN)


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
        return requeue(run, AttemptEnd.WAITING, now, now, why)
    waiting = msgspec.structs.replace(run, waiting_kind=command.kind, waiting=command.detail, unproven=0)
    return release(waiting, WAITING, AttemptEnd.WAITING, now, now, reason=f"waiting_{command.kind}")


def _afford(run: Run, command: Command, now: int) -> Transition:
    assert isinstance(command, Afford)
    budget = command.change(run.budget)
    changed = msgspec.structs.replace(run, budget=budget)
    drafts = [Draft(EventKind.BUDGET, encode(budget.allowed))]
    if run.waiting_kind == BUDGET and budget.is_left(run.usage):
        changed = _woken(changed)
        drafts.append(status(changed))
    return move(changed, now, drafts)


def _wake(run: Run, command: Command, now: int) -> Transition:
    woken = _woken(run)
    return move(woken, now, [status(woken)])


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
    return end(run, CANCELLED, AttemptEnd.CANCELLED, now)


def _delete(run: Run, command: Command, now: int) -> Transition:
    return Transition(run)


def _give_up_or_requeue(
    run: Run, how: AttemptEnd, ended_at: int, now: int, why: RunError, *, has_died: bool = False
) -> Transition:
    executed_ms = run.executed_ms + attempt_ms(run, ended_at)
    if executed_ms >= run.timeout_s * 1000:
        error = RunError("timeout", f"The run used up its {run.timeout_s} s of execution time.")
    elif has_died and _is_hopeless(run):
        error = RunError(
            "worker_lost", f"{why.message} That was the run's loss number {run.lost}; it is given up."
        )
    elif run.unproven >= MAX_UNPROVEN:
        error = RunError(
            "worker_lost",
            f"{why.message} {run.unproven} attempts began without any progress; it is given up.",
        )
    else:
        return requeue(run, how, ended_at, now, why)
    return end(run, FAILED, how, now, error=error, ended_at=ended_at)


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
