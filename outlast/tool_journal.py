"""The tool journal: what attempts say of their steps, and what people say of those that nobody knows about.

A step is begun before it is done and ended after, each in a transaction of its own; so whoever dies in between leaves a
step behind that was in flight. docs/decisions/0081 says what becomes of it.
"""

import msgspec

from outlast.bodies import Bodies
from outlast.errors import BodyTooLarge, StepNotFound, StepNotWaiting, quoted
from outlast.runs import Caller, Json, Run
from outlast.steps import (
    ERROR_MAX,
    INPUT_MAX,
    Answer,
    Done,
    Effect,
    Failed,
    Go,
    Step,
    StepPage,
    StepState,
    Unsure,
    Verdict,
)
from outlast.store.plan import not_there
from outlast.store.protocol import Page, Store
from outlast.transitions import AnswerStep, BeginStep, EndStep

RESULT_MAX = 32 * 1024 * 1024
"""Bytes of JSON that a step's result may have."""


class ToolJournal:
    """The steps of runs."""

    def __init__(self, store: Store, bodies: Bodies) -> None:
        self._store = store
        self._bodies = bodies

    # What attempts do: `Fenced` when the attempt no longer holds the run.

    async def begin(
        self, run_id: str, attempt_id: str, key: str, name: str, effect: Effect, input: Json | None = None
    ) -> Verdict:
        """Whether to do a step now. Asked twice by the same attempt, the answer is the same.

        `Unsure` has taken the run from the attempt: it waits until `answer` has been called.
        """
        command = BeginStep(attempt_id, key, name, effect, None if input is None else _shortened(input))
        transition = await self._store.apply(run_id, command)
        step = transition.step
        assert step is not None
        match step.state:
            case StepState.RUNNING:
                return Go(step.idempotency_key)
            case StepState.DONE:
                assert step.result is not None
                return Done(await self._bodies.read(transition.run.tenant, step.result))
            case StepState.FAILED:
                return Failed(step.error or "")
            case _:
                return Unsure()

    async def end(self, run_id: str, attempt_id: str, key: str, result: Json) -> Step:
        """The step is done; on disk when this returns. Said twice, the first result stays."""
        _check_size(key, result)
        body = await self._bodies.keep((await self._run(run_id)).tenant, result)
        return await self._end(run_id, EndStep(attempt_id, key, result=body))

    async def fail(self, run_id: str, attempt_id: str, key: str, error: str) -> Step:
        """The step has ended with an error."""
        return await self._end(run_id, EndStep(attempt_id, key, error=error[:ERROR_MAX]))

    async def _end(self, run_id: str, command: EndStep) -> Step:
        step = (await self._store.apply(run_id, command)).step
        assert step is not None
        return step

    # What clients do.

    async def page(self, caller: Caller, run_id: str, page: Page) -> StepPage:
        """A page of the run's steps, in the order in which they were begun last."""
        run = await self._run(run_id, caller)
        return await self._store.steps(run_id, run.generation, page)

    async def find(self, caller: Caller, run_id: str, key: str) -> tuple[Step, Json | None]:
        """A step and its result, if it has one; `StepNotFound` if the run never came to it."""
        run = await self._run(run_id, caller)
        step = await self._step(run, key)
        return step, None if step.result is None else await self._bodies.read(run.tenant, step.result)

    async def answer(
        self,
        caller: Caller,
        run_id: str,
        key: str,
        answer: Answer,
        result: Json | None = None,
        error: str | None = None,
    ) -> Run:
        """Settle a step that the run waits for, and let the run go on: both, or nothing.

        The same answer again does no harm. `StepNotWaiting` if it does not wait, or has had another answer.
        """
        run = await self._run(run_id, caller)
        step = await self._step(run, key)
        error = None if error is None else error[:ERROR_MAX]
        if step.state is not StepState.UNSURE:
            return await self._same_again(run, step, answer, result, error)
        if run.is_final:
            raise StepNotWaiting(f"Run {run_id} {run.status}; nothing of it waits for an answer any more.")
        if result is not None:
            _check_size(key, result)
        body = None if result is None else await self._bodies.keep(run.tenant, result)
        return (await self._store.apply(run_id, AnswerStep(key, answer, body, error), caller.tenant)).run

    async def _same_again(
        self, run: Run, step: Step, answer: Answer, result: Json | None, error: str | None
    ) -> Run:
        """A client that has not heard the answer to its answer says it again."""
        if step.answer is None:
            raise StepNotWaiting(
                f"Step {step.key} of run {run.id} is {step.state}; it does not wait for an answer."
            )
        kept = None if step.result is None else await self._bodies.read(run.tenant, step.result)
        if step.answer is answer and (answer is Answer.RETRY or (kept, step.error) == (result, error)):
            return run
        raise StepNotWaiting(f"Step {step.key} of run {run.id} has been answered already: {step.answer}.")

    async def _step(self, run: Run, key: str) -> Step:
        step = await self._store.step(run.id, run.generation, key)
        if step is None:
            raise StepNotFound(f"Run {run.id} has no step {quoted(key)}; its steps are at /steps.")
        return step

    async def _run(self, run_id: str, caller: Caller | None = None) -> Run:
        run = await self._store.run(run_id)
        if run is None or (caller is not None and run.tenant != caller.tenant):
            raise not_there(run_id)
        return run


def _check_size(key: str, result: Json) -> None:
    if len(result) > RESULT_MAX:
        raise BodyTooLarge(
            f"The result of step {key} has {len(result)} bytes; the most a step may return is {RESULT_MAX}."
        )


def _shortened(input: Json) -> Json:
    """What people will read: as it came, or the beginning of it as a text."""
    if len(input) <= INPUT_MAX:
        return input
    beginning = input[: INPUT_MAX // 2].decode("utf-8", "ignore")
    return msgspec.json.encode(f"{beginning}… ({len(input)} bytes)")
