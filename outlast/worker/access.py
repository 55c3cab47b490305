"""How an attempt gets at a model: the worker asks, whoever holds the gateway answers."""

from collections.abc import Callable
from typing import Protocol


class Grant(Protocol):
    """Where the attempt finds its model, and the token that is good for this attempt alone."""

    @property
    def base_url(self) -> str:
        """The gateway's OpenAI-compatible address, ending in `/v1`."""
        ...

    @property
    def token(self) -> str: ...


class ModelAccess(Protocol):
    """Gives attempts their access to models and takes it back. None of it may block or fail."""

    def grant(self, run_id: str, attempt_id: str, model: str | None, holds: Callable[[], bool]) -> Grant:
        """Let the attempt call models, `model` being the one its run was submitted for, for as long as `holds` says
        that the worker has its lease: a process that stood still must not pay for what others have taken over."""
        ...

    def revoke(self, attempt_id: str, *, cut: bool) -> None:
        """The attempt is over: refuse its further calls. With `cut`, end those in flight at once; without, the run
        goes on elsewhere and their answers are still wanted. May be called again, to no effect."""
        ...

    def reason(self, attempt_id: str) -> str | None:
        """The last failure of a model call of this attempt, in words; asked before `revoke`."""
        ...
