"""What can happen to a run, and what it makes of it: the commands, and the transition that one leads to. Data only.

`lifecycle.decide` makes the one from the other; a store writes the transition.
"""

from enum import StrEnum

import msgspec

from outlast.journal import Entry, KeptCall
from outlast.runs import Attempt, Body, Budget, Draft, Event, Json, Notice, Progress, Run, RunError, Usage
from outlast.steps import Answer, Effect, Step


class Claim(msgspec.Struct, frozen=True, gc=False):
    attempt_id: str
    worker_id: str


class OfAttempt(msgspec.Struct, frozen=True, gc=False):
    """A command of the attempt that holds the run; from any other attempt it is `Fenced`."""

    attempt_id: str


class Append(OfAttempt, frozen=True):
    drafts: tuple[Draft, ...] = ()
    progress: Progress | None = None
    usage: Usage | None = None
    call: KeptCall | None = None
    """To be kept; one of the drafts is its `model_call`."""


class BeginStep(OfAttempt, frozen=True):
    key: str
    name: str
    effect: Effect
    input: Json | None = None
    found: Step | None = None
    """The step as it is kept; the plan puts it here. So with the other two."""


class EndStep(OfAttempt, frozen=True):
    """Exactly one of result and error is there."""

    key: str
    result: Body | None = None
    error: str | None = None
    found: Step | None = None


class Succeed(OfAttempt, frozen=True):
    result: Body


class Fail(OfAttempt, frozen=True):
    error: RunError
    retryable: bool = False
    lingers: bool = False
    """Whether something of the attempt may still be there; so with `Lose`."""


class Cause(StrEnum):
    """Why an attempt ended without an outcome of its own."""

    OWN_PROCESS = "own_process"
    """Its own process died, or the shared host it was alone in: it counts against the run."""
    SHARED_HOST = "shared_host"
    """The host it shared with others died: it goes on uncounted, alone (`Run.solo`)."""
    WORKER = "worker"
    """Its worker or server died, or could not renew its lease."""


class Lose(OfAttempt, frozen=True):
    cause: Cause
    at: int
    """When it ended, as far as is known: not after its lease."""
    lingers: bool = False


class HandBack(OfAttempt, frozen=True):
    pass


BUDGET = "budget"
"""What a run waits for that has used up what it may use."""


class Wait(OfAttempt, frozen=True):
    kind: str
    detail: msgspec.Raw


class Wake(msgspec.Struct, frozen=True, gc=False):
    pass


class AnswerStep(msgspec.Struct, frozen=True, gc=False):
    """What a person says of a step that the run waits for; a result with `skip`, an error with `fail`."""

    key: str
    answer: Answer
    result: Body | None = None
    error: str | None = None
    found: Step | None = None


class Due(msgspec.Struct, frozen=True, gc=False):
    pass


class Admit(msgspec.Struct, frozen=True, gc=False):
    """Its turn has come in the lane it waited for."""

    blocked_by: str | None = None
    """The lane it waits for next."""


class Enrol(msgspec.Struct, frozen=True, gc=False):
    """Its session is limited from now on."""

    lanes: str
    blocked_by: str | None = None


class Afford(msgspec.Struct, frozen=True, gc=False):
    """The run may use so much from now on; what is not set stays as it is."""

    max_cost_nano_usd: int | msgspec.UnsetType | None = msgspec.UNSET
    max_tokens: int | msgspec.UnsetType | None = msgspec.UNSET

    def change(self, budget: Budget) -> Budget:
        """What that makes of the budget there was."""
        return Budget(
            budget.max_cost_nano_usd if self.max_cost_nano_usd is msgspec.UNSET else self.max_cost_nano_usd,
            budget.max_tokens if self.max_tokens is msgspec.UNSET else self.max_tokens,
        )


class Cancel(msgspec.Struct, frozen=True, gc=False):
    pass


class Delete(msgspec.Struct, frozen=True, gc=False):
    pass


OfStep = BeginStep | EndStep | AnswerStep
Command = (
    Claim
    | Append
    | BeginStep
    | EndStep
    | Succeed
    | Fail
    | Lose
    | HandBack
    | Wait
    | Wake
    | AnswerStep
    | Due
    | Admit
    | Enrol
    | Afford
    | Cancel
    | Delete
)


class Transition(msgspec.Struct, frozen=True, gc=False):
    """What a command makes of a run; the store writes all of it in one transaction, or nothing."""

    run: Run
    events: tuple[Event, ...] = ()
    attempt: Attempt | None = None
    """The attempt that ends here."""
    result: Body | None = None
    notice: Notice | None = None
    entry: Entry | None = None
    """For the journal; if it has the call already, that one stays."""
    forgets: int | None = None
    """The generation whose last answered call leaves the journal."""
    step: Step | None = None
    """The step that the command was about, as it is from now on."""


def lingers(command: Command) -> bool:
    """Whether something of the attempt that this command ends may still be there."""
    match command:
        case Cancel() | HandBack() | Wait() | BeginStep():
            return True
        case Fail() | Lose():
            return command.lingers
        case _:
            return False
