"""Steps by random histories beside a tiny model: what is done stays done, and what must not happen twice does not."""

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from outlast.lifecycle import birth, decide
from outlast.runs import Body, Isolation, Run, RunState
from outlast.steps import Answer, Effect, Step, StepState
from outlast.transitions import AnswerStep, BeginStep, Cause, Claim, EndStep, Lose, OfStep, Transition

T0 = 1_800_000_000_000
KEYS = {"look": Effect.READ, "book": Effect.IDEMPOTENT, "pay": Effect.ONCE, "send": Effect.ONCE}


def result(number: int) -> Body:
    return Body(1, b"%d" % number)


class Steps(RuleBasedStateMachine):
    """One run, taken up by attempt after attempt, each of which comes to some of four steps."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: dict[str, Step] = {}
        self.outcomes: dict[str, Body | str] = {}
        """What the model says came of each step that is settled for good."""
        self.in_doubt: set[str] = set()
        """Those that may be done once only, which an attempt has begun and not ended."""
        self.keys: dict[str, str] = {}
        self.run = birth(
            Run(
                id="run_1",
                tenant="default",
                state=RunState.QUEUED,
                runner="echo",
                framework="echo",
                kind=Isolation.SHARED,
                created_at=T0,
                timeout_s=100,
            )
        ).run
        self.attempts = 0
        self.doing: set[str] = set()
        """What this attempt has begun and not ended."""

    def apply(self, command: OfStep) -> Transition:
        found = self.kept.get(command.key)
        transition = decide(self.run, msgspec.structs.replace(command, found=found), T0)
        self.run = transition.run
        assert transition.step is not None
        self.kept[command.key] = transition.step
        return transition

    @precondition(lambda self: self.run.state is RunState.QUEUED)
    @rule()
    def claim(self) -> None:
        self.attempts += 1
        self.run = decide(self.run, Claim(f"att_{self.attempts}", "worker_1"), T0).run
        self.doing = set()

    @precondition(lambda self: self.run.attempt_id is not None)
    @rule()
    def lose(self) -> None:
        self.run = decide(self.run, Lose(self.run.attempt_id or "", Cause.WORKER, T0), T0).run
        self.run = msgspec.structs.replace(self.run, unproven=0)  # it may begin as often as it likes here

    @precondition(lambda self: self.run.attempt_id is not None)
    @rule(key=st.sampled_from(sorted(KEYS)))
    def begin(self, key: str) -> None:
        step = self.apply(BeginStep(self.run.attempt_id or "", key, key, KEYS[key])).step
        assert step is not None
        assert self.keys.setdefault(key, step.idempotency_key) == step.idempotency_key
        if key in self.outcomes:
            assert self.outcomes[key] == (step.result if step.state is StepState.DONE else step.error)
        elif key in self.in_doubt and key not in self.doing:
            assert (step.state, self.run.state) == (StepState.UNSURE, RunState.WAITING)
        else:
            assert (step.state, self.run.state) == (StepState.RUNNING, RunState.RUNNING)
            self.doing.add(key)
            if KEYS[key] is Effect.ONCE:
                self.in_doubt.add(key)

    @precondition(lambda self: self.run.attempt_id is not None and self.doing)
    @rule(data=st.data(), number=st.integers(0, 9), fails=st.booleans())
    def end(self, data: st.DataObject, number: int, *, fails: bool) -> None:
        key = data.draw(st.sampled_from(sorted(self.doing)))
        outcome = str(number) if fails else result(number)
        command = EndStep(
            self.run.attempt_id or "",
            key,
            None if isinstance(outcome, str) else outcome,
            outcome if isinstance(outcome, str) else None,
        )
        self.apply(command)
        self.doing.discard(key)
        self.in_doubt.discard(key)
        if not fails or KEYS[key] is Effect.ONCE:
            self.outcomes[key] = outcome

    @precondition(lambda self: self.run.state is RunState.WAITING)
    @rule(answer=st.sampled_from(Answer))
    def answer(self, answer: Answer) -> None:
        (key,) = [key for key, step in self.kept.items() if step.state is StepState.UNSURE]
        said: dict[Answer, Body | str | None] = {
            Answer.RETRY: None,
            Answer.SKIP: result(0),
            Answer.FAIL: "no",
        }
        outcome = said[answer]
        self.apply(
            AnswerStep(
                key,
                answer,
                outcome if isinstance(outcome, Body) else None,
                outcome if isinstance(outcome, str) else None,
            )
        )
        assert self.run.state is RunState.QUEUED
        self.in_doubt.discard(key)
        if outcome is not None:
            self.outcomes[key] = outcome

    @invariant()
    def the_run_waits_for_exactly_the_unsure_step(self) -> None:
        unsure = [step for step in self.kept.values() if step.state is StepState.UNSURE]
        assert len(unsure) == (self.run.state is RunState.WAITING)


TestSteps = Steps.TestCase
TestSteps.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
