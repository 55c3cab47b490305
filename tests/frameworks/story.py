"""The runs that are killed: who, at which calls, and what became of each."""

from enum import StrEnum

import msgspec

from tests.frameworks.clerk import ANSWER, IDEAL
from tests.frameworks.stage import Clerk


class Victim(StrEnum):
    """What is killed."""

    AGENT = "agent"
    """All processes of the run's agent, between two calls: none is in flight, and all answers are kept."""
    AGENT_CALLING = "agent_calling"
    """The same while the provider answers it."""
    WORKER = "worker"
    """The worker and everything below it, between two calls of each run that it has."""
    WORKER_CALLING = "worker_calling"
    """The same while the provider answers."""
    SERVER = "server"
    """The server too, between two calls."""


COMMON = (Victim.WORKER, Victim.WORKER_CALLING, Victim.SERVER)
"""These hit everybody."""
CALLED = (Victim.AGENT_CALLING, Victim.WORKER_CALLING)
"""These hit a call in flight."""
AGENTS_AND_WORKER = (Victim.AGENT_CALLING, Victim.WORKER, Victim.AGENT)
WORKER_ONLY = (Victim.WORKER, Victim.SERVER, Victim.WORKER)
CALLING = (Victim.AGENT, Victim.WORKER_CALLING, Victim.AGENT_CALLING)

ALONE = ("alone",)


class Case(msgspec.Struct, frozen=True):
    """One run."""

    clerk: Clerk
    kills: tuple[Victim, ...] = AGENTS_AND_WORKER
    tasks: tuple[str, ...] = ALONE
    """Each is for an agent of its own, all of them at the same time."""

    @property
    def name(self) -> str:
        """A word that is in each of its prompts, and in no other's."""
        kills = "-".join(kill.replace("_", "-") for kill in self.kills)
        return f"case-{self.clerk.name}-{len(self.tasks)}-{kills}{'-clock' * self.tells_the_time}"

    @property
    def tells_the_time(self) -> bool:
        return any("{now}" in task for task in self.tasks)

    @property
    def ideal(self) -> int:
        return IDEAL * len(self.tasks)

    @property
    def prompt(self) -> str:
        return "\n".join(f"{self.name}. Task: {task}" for task in self.tasks)

    @property
    def answer(self) -> str:
        return " | ".join([ANSWER] * len(self.tasks))

    def at(self, kill: int) -> int:
        """By which of its paid calls it is killed this time."""
        return (2, 4, 5)[kill] * len(self.tasks)


class Diverged(msgspec.Struct, frozen=True):
    """Where a call is another than the one that it might have had from the journal."""

    field: str


class Call(msgspec.Struct, frozen=True):
    """A model call as the server lists it."""

    attempt: int
    how: str
    status: int
    diverged: Diverged | None = None


class Outcome(msgspec.Struct, frozen=True):
    """What became of a run."""

    status: str
    result: object
    paid: int
    lost: int
    """Calls that were in flight when their worker was killed."""
    live: int
    """Calls that the server says were paid."""
    replayed: int
    """Calls that it had from the journal."""
    attempts: int
    diverged: tuple[str, ...]
    """The fields in which a call differed from the one that an attempt could have had again."""
    ends: int
    """Terminal events."""
