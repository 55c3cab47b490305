"""What a command makes of a step. Pure; what that means for the run is decided in `lifecycle`."""

import hashlib

import msgspec

from outlast.errors import StepMismatch, StepNotBegun, StepNotWaiting
from outlast.runs import Run
from outlast.steps import Answer, Effect, Step, StepState
from outlast.transitions import AnswerStep, BeginStep, EndStep


def begun(run: Run, command: BeginStep, now: int) -> Step:
    """The step when an attempt has come to it: `RUNNING` says do it, anything else says what to do instead.

    The very step that was found if nothing changes.
    """
    found = command.found
    if found is None:
        return _new(run, command, now)
    if found.name != command.name:
        raise StepMismatch(
            f"Step {command.key} of run {run.id} is {found.name!r}, not {command.name!r}; give each step its own key."
        )
    match found.state:
        case StepState.DONE:
            return found
        case StepState.FAILED if found.effect is Effect.ONCE:
            return found
        case StepState.RUNNING if found.attempt_id == command.attempt_id:
            return found  # the answer to the first time was lost
        case StepState.RUNNING | StepState.UNSURE if found.effect is Effect.ONCE:
            return msgspec.structs.replace(found, state=StepState.UNSURE)
        case _:
            return _again(found, command, now)


def _new(run: Run, command: BeginStep, now: int) -> Step:
    return Step(
        run_id=run.id,
        generation=run.generation,
        key=command.key,
        name=command.name,
        effect=command.effect,
        state=StepState.RUNNING,
        attempt_id=command.attempt_id,
        idempotency_key=idempotency_key(run.id, run.generation, command.key),
        started_at=now,
        input=command.input,
    )


def _again(found: Step, command: BeginStep, now: int) -> Step:
    return msgspec.structs.replace(
        found,
        state=StepState.RUNNING,
        effect=command.effect,
        attempt_id=command.attempt_id,
        started_at=now,
        ended_at=None,
        error=None,
    )


def idempotency_key(run_id: str, generation: int, key: str) -> str:
    """The same for a step in every attempt, another for every other step of any run."""
    return f"step_{hashlib.sha256(f'{run_id}/{generation}/{key}'.encode()).hexdigest()[:32]}"


def ended(run: Run, command: EndStep, now: int) -> Step:
    """The step with its result or its error; the very one that was found if this attempt has said so before."""
    found = command.found
    if found is None or found.attempt_id != command.attempt_id:
        raise StepNotBegun(
            f"Step {command.key} of run {run.id} was not begun in this attempt; begin it first."
        )
    if found.state is not StepState.RUNNING:
        return found
    return msgspec.structs.replace(
        found,
        state=StepState.DONE if command.error is None else StepState.FAILED,
        result=command.result,
        error=command.error,
        ended_at=now,
    )


def answered(run: Run, command: AnswerStep, now: int) -> Step:
    """The step as a person settled it; nothing but an unsure one can be."""
    found = command.found
    if found is None or found.state is not StepState.UNSURE:
        raise StepNotWaiting(f"Step {command.key} of run {run.id} does not wait for an answer.")
    step = msgspec.structs.replace(found, answer=command.answer, ended_at=now)
    match command.answer:
        case Answer.RETRY:
            return msgspec.structs.replace(step, state=StepState.AGAIN, ended_at=None)
        case Answer.SKIP:
            return msgspec.structs.replace(step, state=StepState.DONE, result=command.result)
        case Answer.FAIL:
            return msgspec.structs.replace(step, state=StepState.FAILED, error=command.error)
