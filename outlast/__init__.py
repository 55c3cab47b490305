"""Agent runs that outlast crashes: submit over HTTP, come back for the result."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from outlast.durable import StepError, StepFailed, tool

__version__ = "0.1.0"

__all__ = ["StepError", "StepFailed", "__version__", "tool"]


def __getattr__(name: str) -> object:
    # What agents need is imported when an agent asks for it: the server and its commands start without.
    if name in __all__:
        from outlast import durable

        found: object = getattr(durable, name)
        return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
