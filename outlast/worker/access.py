"""How an attempt gets at a model: the worker asks, whoever holds the gateway answers."""

from collections.abc import Callable
from typing import Protocol

from outlast.runs import Run


class Grant(Protocol):
    """Where the attempt finds its model, and the token that is good for this attempt alone."""

    @property
    def base_url(self) -> str:
        """The gateway's OpenAI-compatible address, ending in `/v1`."""
        ...

    @property
    def token(self) -> str: ...


class ModelAccess(Protocol):
    """Gives attempts their access to models and takes it back. None of it may fail, and but `settle` nothing waits."""

    def grant(self, run: Run, attempt_id: str, model: str | None, holds: Callable[[], bool]) -> Grant:
        """Let the attempt call models, `model` being the one its run was submitted for, for as long as `holds` says
        that the worker has its lease: a process that stood still must not pay for what others have taken over."""
        ...

    async def settle(self, attempt_id: str, *, until_it_asks: bool = False) -> None:
        """The attempt is over and its run goes on: begin no further call, return when those in flight are journalled.

        With `until_it_asks`, not before its agent wants a further one, which then waits. As long as this attempt holds
        the run, that is; `revoke` ends it at once."""
        ...

    def revoke(self, attempt_id: str) -> None:
        """Refuse further calls, end those in flight at once. May be called again, to no effect."""
        ...

    def reason(self, attempt_id: str) -> str | None:
        """The last failure of a model call of this attempt, in words; asked before `revoke`."""
        ...
