"""The state machine, tried on every pair of state and command, and by random histories beside a tiny model."""

from itertools import product

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from outlast.errors import Fenced, Refused, RunActive, RunFinished
from outlast.journal import CallKey, KeptCall
from outlast.lifecycle import MAX_LOST, MAX_LOST_PROVEN, MAX_UNPROVEN, RULES, birth, decide
from outlast.runs import (
    Body,
    Draft,
    Event,
    EventKind,
    Isolation,
    JournalMode,
    Progress,
    Retry,
    Run,
    RunError,
    RunState,
    Usage,
)
from outlast.steps import Answer, Effect, Step, StepState
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

T0 = 1_800_000_000_000
TIMEOUT_S = 100
ATTEMPTS = 3
LOG = Draft(EventKind.LOG, b"{}")
MORE = Afford(max_tokens=100)
NO = RunError("agent_error", "It broke.")
RESULT = Body(1, b"1")
MODEL_CALL = Draft(EventKind.MODEL_CALL, b"{}")
KEPT = KeptCall(CallKey(b"hash", 1), b"head", None, 200, False, RESULT)
FINAL = {RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELLED}


def born(webhook_url: str | None = None, journal: JournalMode = JournalMode.RESUME) -> Run:
    """A run as it is submitted: the first transition's."""
    run = Run(
        id="run_1",
        tenant="default",
        state=RunState.QUEUED,
        runner="echo",
        framework="echo",
        kind=Isolation.SHARED,
        created_at=T0,
        timeout_s=TIMEOUT_S,
        retry=Retry(max_attempts=ATTEMPTS, backoff_s=2, journal=journal),
        webhook_url=webhook_url,
    )
    return birth(run).run


def after(*commands: Command, run: Run | None = None, now: int = T0) -> Run:
    """The run after these commands, all at one moment."""
    run = run or born()
    for command in commands:
        run = decide(run, command, now).run
    return run


CLAIM = Claim("att_1", "worker_1")
IN = {
    RunState.QUEUED: after(),
    RunState.RUNNING: after(CLAIM),
    RunState.WAITING: after(CLAIM, Wait("att_1", "input", msgspec.Raw(b"{}"))),
    RunState.SUCCEEDED: after(CLAIM, Succeed("att_1", RESULT)),
    RunState.FAILED: after(CLAIM, Fail("att_1", NO)),
    RunState.CANCELLED: after(Cancel()),
}
LAST_CHANCE = msgspec.structs.replace(
    after(CLAIM), lost=MAX_LOST - 1, unproven=MAX_UNPROVEN, failures=ATTEMPTS - 1
)
"""A running run of which one more loss, hand-back or failure is the last."""
OVERDRAWN = after(
    CLAIM,
    Append("att_1", (LOG,), usage=Usage(1, 1, 1)),
    Afford(max_tokens=1),
    Wait("att_1", BUDGET, msgspec.Raw(b"{}")),
)
"""A run that waits for its budget."""


def pay(attempt_id: str, state: StepState = StepState.RUNNING) -> Step:
    """A step that may be done once only, begun by this attempt."""
    return Step(
        run_id="run_1",
        generation=1,
        key="pay",
        name="pay",
        effect=Effect.ONCE,
        state=state,
        attempt_id=attempt_id,
        idempotency_key="step_1",
        started_at=T0,
    )


def commands(attempt_id: str) -> list[Command]:
    """At least one of each command; those that can lead to several states in each of their forms."""
    return [
        Claim("att_2", "worker_2"),
        Append(attempt_id, (LOG,), Progress(50, steps_completed=1), Usage(1, 2, 3)),
        Append(attempt_id, (MODEL_CALL,), usage=Usage(1, 2, 3), call=KEPT),
        Succeed(attempt_id, RESULT),
        Fail(attempt_id, NO),
        Fail(attempt_id, NO, retryable=True),
        *(Lose(attempt_id, cause, T0) for cause in Cause),
        HandBack(attempt_id),
        Wait(attempt_id, "input", msgspec.Raw(b"{}")),
        Wait(attempt_id, BUDGET, msgspec.Raw(b"{}")),
        Wake(),
        BeginStep(attempt_id, "pay", "pay", Effect.ONCE),
        BeginStep(attempt_id, "pay", "pay", Effect.ONCE, found=pay("att_0")),
        EndStep(attempt_id, "pay", RESULT, found=pay(attempt_id)),
        AnswerStep("pay", Answer.SKIP, RESULT, found=pay("att_0", StepState.UNSURE)),
        Due(),
        Admit(),
        Enrol("session"),
        MORE,
        Cancel(),
        Delete(),
    ]


def pairs() -> list[tuple[Run, Command]]:
    return [(run, command) for run, command in product(IN.values(), commands("att_1"))]


def test_the_samples_cover_every_state_and_command() -> None:
    assert set(IN) == set(RunState)
    assert {run.state for run in IN.values()} == set(RunState)
    assert {type(command) for command in commands("")} == {rule.command for rule in RULES}


def test_each_command_has_a_meaning_in_these_states_only() -> None:
    table: dict[str, list[str]] = {}
    for r in RULES:
        table.setdefault(r.command.__name__, []).extend(sorted(r.sources))

    assert table == {
        "Claim": ["queued"],
        "Append": ["running"],
        "BeginStep": ["running"],
        "EndStep": ["running"],
        "Succeed": ["running"],
        "Fail": ["running"],
        "Lose": ["running"],
        "HandBack": ["running"],
        "Wait": ["running"],
        "Wake": ["waiting"],
        "AnswerStep": ["waiting"],
        "Due": ["queued"],
        "Admit": ["queued"],
        "Enrol": ["queued", "running", "waiting"],
        "Afford": ["queued", "running", "waiting"],
        "Cancel": ["queued", "running", "waiting"],
        "Delete": ["cancelled", "failed", "succeeded"],
    }


@pytest.mark.parametrize(
    ("run", "command"), pairs(), ids=lambda it: it.state if isinstance(it, Run) else type(it).__name__
)
def test_a_command_does_what_the_table_says_or_is_refused(run: Run, command: Command) -> None:
    targets = [r.targets for r in RULES if r.command is type(command) and run.state in r.sources]

    if targets:
        assert decide(run, command, T0).run.state in targets[0]
    else:
        with pytest.raises(Refused):
            decide(run, command, T0)


def test_every_target_in_the_table_is_reached() -> None:
    reached = {
        (run.state, type(command), decide(run, command, T0).run.state)
        for run, command in [*pairs(), *product([LAST_CHANCE, OVERDRAWN], commands("att_1"))]
        if any(r.command is type(command) and run.state in r.sources for r in RULES)
        and not (isinstance(command, OfAttempt) and run.attempt_id is None)
    }

    # A final run keeps its own state when it is deleted; the table lists the three together.
    written = {(s, r.command, t) for r in RULES for s, t in product(r.sources, r.targets)}
    assert reached == {w for w in written if w[1] is not Delete or w[0] is w[2]}


@pytest.mark.parametrize("state", list(RunState))
def test_a_late_attempt_is_fenced_in_every_state(state: RunState) -> None:
    for command in commands("att_late"):
        if isinstance(command, OfAttempt):
            with pytest.raises(Fenced, match="att_late no longer holds run run_1"):
                decide(IN[state], command, T0)


def test_a_refusal_says_what_to_do() -> None:
    with pytest.raises(RunActive, match="cancel it or let it end before deleting it"):
        decide(IN[RunState.WAITING], Delete(), T0)
    with pytest.raises(RunFinished, match=r"succeeded at 2027-01-15T08:00:00.000Z; a finished run cannot be"):
        decide(IN[RunState.SUCCEEDED], Cancel(), T0)


def test_attempts_without_progress_are_bounded() -> None:
    run = born()
    for n in range(MAX_UNPROVEN):
        assert run.state is RunState.QUEUED, n
        run = after(CLAIM, HandBack("att_1"), run=run)

    assert (run.state, run.error and run.error.code) == (RunState.FAILED, "worker_lost")


def test_attempts_that_die_after_getting_further_are_forgiven_within_a_bound_of_their_own() -> None:
    run = born()
    for n in range(MAX_LOST_PROVEN):
        assert (run.state, run.lost) == (RunState.QUEUED, n)
        run = after(CLAIM, Append("att_1", (LOG,), usage=Usage(1)), run=run)
        run = after(Lose("att_1", Cause.OWN_PROCESS, T0), run=run)

    assert (run.state, run.error and run.error.code) == (RunState.FAILED, "worker_lost")


def test_a_run_that_lost_many_attempts_is_not_given_up_for_being_handed_back() -> None:
    run = msgspec.structs.replace(after(CLAIM), lost=MAX_LOST + 1, unproven=1)

    assert after(HandBack("att_1"), run=run).state is RunState.QUEUED
    assert after(Lose("att_1", Cause.WORKER, T0), run=run).state is RunState.QUEUED
    assert after(Lose("att_1", Cause.OWN_PROCESS, T0), run=run).state is RunState.FAILED


def test_lost_attempts_are_bounded() -> None:
    run = born()
    for n in range(MAX_LOST):
        assert (run.state, run.lost) == (RunState.QUEUED, n)
        run = after(CLAIM, Append("att_1", progress=Progress(1)), run=run)
        run = after(Lose("att_1", Cause.OWN_PROCESS, T0), run=run)

    assert (run.state, run.error and run.error.code) == (RunState.FAILED, "worker_lost")


@pytest.mark.parametrize(("ms", "state"), [(TIMEOUT_S * 1000 - 1, "queued"), (TIMEOUT_S * 1000, "failed")])
def test_a_lost_run_whose_time_is_used_up_is_not_taken_up_again(ms: int, state: str) -> None:
    run = after(Lose("att_1", Cause.WORKER, T0 + ms), run=after(CLAIM), now=T0 + ms + 60_000)

    assert (run.state, run.executed_ms) == (state, ms)
    assert (run.error and run.error.code) == ("timeout" if state == "failed" else None)


def test_progress_proves_an_attempt_unless_it_is_the_same_again() -> None:
    run = born()
    for n in range(3 * MAX_UNPROVEN):
        run = after(CLAIM, Append("att_1", progress=Progress(n + 1)), HandBack("att_1"), run=run)
    assert run.state is RunState.QUEUED

    for _ in range(MAX_UNPROVEN):
        run = after(CLAIM, Append("att_1", progress=Progress(1)), HandBack("att_1"), run=run)
    assert run.state is RunState.FAILED


def test_a_retry_comes_after_a_pause_that_doubles() -> None:
    run, pauses = born(), []
    for _ in range(ATTEMPTS - 1):
        run = after(CLAIM, Fail("att_1", NO, retryable=True), run=run)
        assert (run.state, run.ready) == (RunState.QUEUED, False)
        pauses.append((run.due_at or 0) - T0)
        run = after(Due(), run=run)
        assert (run.ready, run.due_at) == (True, None)

    assert pauses[0] == pytest.approx(2000, rel=0.2)
    assert pauses[1] == pytest.approx(2 * pauses[0], abs=1)
    assert after(CLAIM, Fail("att_1", NO, retryable=True), run=run).error == NO


def test_a_run_of_a_shared_host_that_died_goes_on_alone_until_a_step_is_done() -> None:
    lost = after(CLAIM, Lose("att_1", Cause.SHARED_HOST, T0))

    assert (lost.state, lost.lost, lost.solo) == (RunState.QUEUED, 0, True)
    assert after(CLAIM, Append("att_1", progress=Progress(1)), run=lost).solo
    assert not after(CLAIM, Append("att_1", progress=Progress(1, steps_completed=1)), run=lost).solo
    assert not after(CLAIM, Append("att_1", usage=Usage(1)), run=lost).solo


def test_a_kept_call_has_the_number_of_its_event() -> None:
    kept = decide(after(CLAIM), Append("att_1", (LOG, MODEL_CALL, LOG), call=KEPT), T0)

    assert kept.entry is not None
    assert (kept.entry.generation, kept.entry.call) == (1, KEPT)
    assert kept.events[1].kind is EventKind.MODEL_CALL
    assert kept.entry.seq == kept.events[1].seq


def test_a_finished_run_owes_a_notice_only_if_a_webhook_was_asked_for() -> None:
    asked = decide(after(CLAIM, run=born("https://example.com")), Succeed("att_1", RESULT), T0)

    assert asked.notice is not None
    assert (asked.notice.id, asked.notice.url, asked.notice.result) == (
        "msg_run_1",
        "https://example.com",
        RESULT,
    )
    assert decide(after(CLAIM), Succeed("att_1", RESULT), T0).notice is None


SELDOM = st.sampled_from([False, False, False, False, True])


class Histories(RuleBasedStateMachine):
    """Random commands at random times. The model: who holds the run and since when, and what was counted."""

    def __init__(self) -> None:
        super().__init__()
        self.now = T0
        self._begin()

    def _begin(self, journal: JournalMode = JournalMode.RESUME) -> None:
        self.run = born("https://example.com", journal)
        self.journal: list[int] = []
        """The calls that the next attempt is to find, by number."""
        self.kept: dict[int, list[int]] = {}
        """What a store makes of the transitions: the calls in each generation."""
        self.events = [Event(self.run.id, 1, EventKind.STATUS, T0, b"")]
        self.state = "queued"
        self.holder: str | None = None
        self.since = T0
        self.percentage = 0
        self.attempts = self.lost = self.unproven = self.failures = self.executed_ms = self.notices = 0

    def _do(self, command: Command, expected: str | None) -> Transition | None:
        """Decide, and compare with the state the model expects (null: refused)."""
        if expected is None:
            with pytest.raises(Refused):
                decide(self.run, command, self.now)
            return None
        transition = decide(self.run, command, self.now)
        self.events += transition.events
        self.notices += transition.notice is not None
        self._keep(transition)
        self.run, self.state = transition.run, expected
        assert self.run.state == expected
        return transition

    def _keep(self, transition: Transition) -> None:
        if transition.entry is not None:
            self.kept.setdefault(transition.entry.generation, []).append(transition.entry.seq)
        if transition.forgets is not None:
            del self.kept.get(transition.forgets, [])[-1:]

    def _release(self, transition: Transition | None, until: int) -> None:
        """The attempt, if there was one, has ended."""
        if self.holder is None or transition is None:
            return
        self.executed_ms += max(0, until - self.since)
        assert transition.attempt is not None
        ended = transition.attempt
        assert (ended.id, ended.number, ended.ended_at) == (self.holder, self.attempts, until)
        self.holder = None

    def _held(self, stale: bool, state: str) -> tuple[str, str | None]:
        """An attempt's id to write with, and what a write leads to: `state` if it is the holder's."""
        if stale or self.holder is None:
            return "att_late", None
        return self.holder, state

    def _given_up(self, until: int, *, has_died: bool = False) -> bool:
        executed_ms = self.executed_ms + max(0, until - self.since)
        one_too_many = self.lost >= (MAX_LOST if self.unproven else MAX_LOST_PROVEN)
        bounds = (has_died and one_too_many, self.unproven >= MAX_UNPROVEN, executed_ms >= TIMEOUT_S * 1000)
        return any(bounds)

    @rule(ms=st.integers(0, 40_000))
    def time_passes(self, ms: int) -> None:
        self.now += ms

    @rule()
    def claim(self) -> None:
        queued = self.state == "queued"
        attempt_id = f"att_{self.attempts + 1}"
        transition = self._do(Claim(attempt_id, "worker_1"), "running" if queued else None)
        if transition is not None:
            self.holder, self.since = attempt_id, self.now
            self.attempts += 1
            self.unproven += 1
            assert transition.attempt is None
            assert self.run.attempt == self.attempts

    @rule(stale=SELDOM, n=st.integers(0, 3), percentage=st.none() | st.integers(1, 100))
    def append(self, stale: bool, n: int, percentage: int | None) -> None:
        attempt_id, expected = self._held(stale, "running")
        progress = Progress(percentage) if percentage is not None else None
        if self._do(Append(attempt_id, (LOG,) * n, progress), expected) and percentage is not None:
            self.unproven = 0 if percentage > self.percentage else self.unproven
            self.percentage = percentage

    @rule(stale=SELDOM)
    def record_call(self, stale: bool) -> None:
        attempt_id, expected = self._held(stale, "running")
        if self._do(Append(attempt_id, (MODEL_CALL,), usage=Usage(1), call=KEPT), expected):
            self.unproven = 0
            self.journal.append(self.run.seq)

    @rule(stale=SELDOM)
    def succeed(self, stale: bool) -> None:
        attempt_id, expected = self._held(stale, "succeeded")
        self._release(self._do(Succeed(attempt_id, RESULT), expected), self.now)

    @rule(stale=SELDOM, retryable=st.booleans())
    def fail(self, stale: bool, retryable: bool) -> None:
        again = retryable and self.failures + 1 < ATTEMPTS
        attempt_id, expected = self._held(stale, "queued" if again else "failed")
        transition = self._do(Fail(attempt_id, NO, retryable), expected)
        self.failures += transition is not None
        self._release(transition, self.now)
        if transition is not None and again:
            self.journal = self.journal[:-1] if self.run.retry.journal is JournalMode.RESUME else []

    @rule(stale=SELDOM, cause=st.sampled_from(Cause), ago=st.integers(-1000, 1000))
    def lose(self, stale: bool, cause: Cause, ago: int) -> None:
        until = min(self.now, self.now - ago)
        counts = cause is Cause.OWN_PROCESS and not stale and self.holder is not None
        self.lost += counts
        is_over = self._given_up(until, has_died=counts)
        attempt_id, expected = self._held(stale, "failed" if is_over else "queued")
        self._release(self._do(Lose(attempt_id, cause, self.now - ago), expected), until)

    @rule(stale=SELDOM)
    def hand_back(self, stale: bool) -> None:
        attempt_id, expected = self._held(stale, "failed" if self._given_up(self.now) else "queued")
        self._release(self._do(HandBack(attempt_id), expected), self.now)

    @rule(stale=SELDOM)
    def wait(self, stale: bool) -> None:
        attempt_id, expected = self._held(stale, "waiting")
        transition = self._do(Wait(attempt_id, "input", msgspec.Raw(b"{}")), expected)
        if transition is not None:
            self.unproven = 0
        self._release(transition, self.now)

    @rule()
    def wake(self) -> None:
        self._do(Wake(), "queued" if self.state == "waiting" else None)

    @rule(waits=st.booleans(), enough=st.booleans())
    def afford(self, waits: bool, enough: bool) -> None:
        if waits and self.holder is not None:
            spent = Append(self.holder, (LOG,), usage=Usage(1, 1, 1))
            self._do(spent, "running")
            self._do(Afford(max_tokens=1), "running")
            self._release(self._do(Wait(self.holder, BUDGET, msgspec.Raw(b"{}")), "waiting"), self.now)
            self.unproven = 0
        goes_on = self.run.waiting_kind == BUDGET and enough
        state = None if self.state in FINAL else "queued" if goes_on else self.state
        self._do(Afford(max_tokens=10**9 if enough else 1), state)

    @rule()
    def due(self) -> None:
        self._do(Due(), "queued" if self.state == "queued" else None)

    @precondition(lambda self: self.state in FINAL)
    @rule(journal=st.sampled_from(JournalMode))
    def another_run(self, journal: JournalMode) -> None:
        self._begin(journal)

    @rule()
    def cancel(self) -> None:
        ended = self.state in FINAL
        self._release(self._do(Cancel(), None if ended else "cancelled"), self.now)

    @rule()
    def delete(self) -> None:
        self._do(Delete(), self.state if self.state in FINAL else None)

    @invariant()
    def events_are_numbered_without_a_gap(self) -> None:
        assert [event.seq for event in self.events] == list(range(1, self.run.seq + 1))

    @invariant()
    def exactly_one_outcome_is_told_and_it_is_the_last_word(self) -> None:
        kinds = [event.kind for event in self.events]
        final = self.state in FINAL
        assert kinds.count(EventKind.COMPLETE) == self.notices == final
        assert not final or kinds[-1] is EventKind.COMPLETE
        assert (self.run.finished_at is not None) == final

    @invariant()
    def only_a_running_run_is_held(self) -> None:
        assert self.run.attempt_id == self.holder
        assert (self.holder is not None) == (self.state == "running")

    @invariant()
    def what_is_counted_adds_up_and_is_bounded(self) -> None:
        run = self.run
        assert (run.lost, run.unproven, run.failures, run.executed_ms) == (
            self.lost,
            self.unproven,
            self.failures,
            self.executed_ms,
        )
        assert run.lost <= MAX_LOST_PROVEN
        assert run.unproven <= MAX_UNPROVEN
        assert run.failures <= ATTEMPTS

    @invariant()
    def the_journal_has_what_need_not_be_asked_again(self) -> None:
        assert self.kept.get(self.run.generation, []) == self.journal

    @invariant()
    def a_failed_run_says_why(self) -> None:
        assert (self.run.error is not None) == (self.state == "failed")


Histories.TestCase.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)
TestHistories = Histories.TestCase


def test_runs_that_failed_together_do_not_all_come_back_together() -> None:
    pauses = set()
    for n in range(100):
        run = after(Claim(f"att_{n}", "wrk_1"), Fail(f"att_{n}", NO, retryable=True))
        pauses.add((run.due_at or 0) - T0)

    assert len(pauses) > 50
    assert 1600 <= min(pauses) < 1700
    assert 2300 < max(pauses) <= 2400


def test_a_run_that_waits_for_its_budget_goes_on_when_some_of_it_is_left() -> None:
    spent = after(CLAIM, Append("att_1", (LOG,), usage=Usage(1, 60, 40, 500)), MORE)
    waiting = after(Wait("att_1", BUDGET, msgspec.Raw(b"{}")), run=spent)

    assert (waiting.state, waiting.waiting_kind) == (RunState.WAITING, BUDGET)
    for too_little in (Afford(), Afford(max_cost_nano_usd=500, max_tokens=None), Afford(501)):
        assert after(too_little, run=waiting).state is RunState.WAITING
    for enough in (Afford(max_tokens=101), Afford(501, None), Afford(None, None)):
        woken = after(enough, run=waiting)
        assert (woken.state, woken.ready, woken.waiting_kind) == (RunState.QUEUED, True, None)
        assert woken.budget == enough.change(waiting.budget)


def test_a_run_that_was_given_more_just_now_does_not_wait_for_it() -> None:
    spent = after(CLAIM, Append("att_1", (LOG,), usage=Usage(1, 60, 40)), Afford(max_tokens=101))

    assert after(Wait("att_1", BUDGET, msgspec.Raw(b"{}")), run=spent).state is RunState.QUEUED
    assert after(Wait("att_1", "input", msgspec.Raw(b"{}")), run=spent).state is RunState.WAITING


def test_more_budget_does_not_answer_a_question() -> None:
    asked = after(CLAIM, Wait("att_1", "input", msgspec.Raw(b"{}")), MORE)

    assert (asked.state, asked.waiting_kind) == (RunState.WAITING, "input")
