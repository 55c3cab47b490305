"""The nouns of the tool journal: steps of a run that are done once and given back to later attempts. Data only.

docs/decisions/0081 says what is the same step, what becomes of it in a crash, and who answers for it.
"""

from enum import StrEnum

import msgspec

from outlast.runs import Body, Json

INPUT_MAX = 4096
"""Bytes of a step's input that are kept: it is for people to read, and stands in the run's head while it waits."""
ERROR_MAX = 4000
"""Characters of a step's error that are kept."""


class Effect(StrEnum):
    """What it means to do a step again that was in flight when its attempt died."""

    READ = "read"
    """Nothing: it changes nothing."""
    IDEMPOTENT = "idempotent"
    """Nothing, since whoever it calls knows its idempotency key."""
    ONCE = "once"
    """Harm: nobody does it again unless a person says so."""


class StepState(StrEnum):
    """Where a step is."""

    RUNNING = "running"
    """An attempt does it, or did so when it died."""
    UNSURE = "unsure"
    """An attempt died over it, and a later one has come to it: whether it was done, only a person can say."""
    AGAIN = "again"
    """A person has said that it is to be done again; the next attempt to come to it does so."""
    DONE = "done"
    """It has a result, which every later attempt gets."""
    FAILED = "failed"
    """It ended with an error; one that may be done once only is not done again."""


class Answer(StrEnum):
    """What a person decides over an unsure step."""

    RETRY = "retry"
    """It was not done: do it again."""
    SKIP = "skip"
    """It was done, or shall not be: go on with this result."""
    FAIL = "fail"
    """Go on as if it had failed with this error."""


class Step(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One step of a run, as the store keeps it."""

    run_id: str
    generation: int
    key: str
    """Which of the run's steps it is; the same in every attempt."""
    name: str
    effect: Effect
    state: StepState
    attempt_id: str
    """The attempt that began it last."""
    idempotency_key: str
    """What a tool may hand on, so that whoever it calls knows it again; the same in every attempt."""
    started_at: int
    input: Json | None = None
    """What it was called with, cut at `INPUT_MAX`."""
    result: Body | None = None
    error: str | None = None
    answer: Answer | None = None
    """The last thing that a person said of it."""
    ended_at: int | None = None


class Go(msgspec.Struct, frozen=True):
    """Do it now, then say how it ended."""

    idempotency_key: str


class Done(msgspec.Struct, frozen=True):
    """It was done before; here is what came of it."""

    result: Json


class Failed(msgspec.Struct, frozen=True):
    """It was tried before, may be tried once only, and ended with this error."""

    error: str


class Unsure(msgspec.Struct, frozen=True):
    """Do not do it: the run waits for a person from now on, and the attempt is over."""


Verdict = Go | Done | Failed | Unsure


class StepPage(msgspec.Struct, frozen=True, gc=False):
    """Some of a run's steps in the order in which they were begun, and how many there are in all."""

    steps: tuple[Step, ...]
    total: int
