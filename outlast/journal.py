"""The nouns of the journal: finished model calls that an attempt can have again for nothing. Data only.

docs/decisions/0080 says what is the same call, what is kept, and for how long.
"""

import msgspec

from outlast.runs import Json


class CallKey(msgspec.Struct, frozen=True, gc=False):
    """What makes two calls of a run the same: the content, and how often this attempt has asked it."""

    hash: bytes
    """SHA-256 of the path and the canonical body."""
    n: int
    """From 1: the first, second, … time this attempt asks for this hash."""


class Pin(msgspec.Struct, frozen=True, gc=False):
    """A tool's result as it was first sent to the model; a later attempt sends it again instead of its own."""

    tool_call_id: str
    k: int
    """From 1: an attempt's first, second, … content for this tool call."""
    content: Json


class Link(msgspec.Struct, frozen=True, gc=False):
    """One message of a request, and the link of the message before it: the history is kept once, not in every call."""

    hash: bytes
    """SHA-256 of `before` and `content`."""
    before: bytes | None
    content: Json


class Asked(msgspec.Struct, frozen=True, gc=False):
    """A request as it is kept: what it has beside its messages, and the chain that its messages are."""

    path: str
    """Below the base URL: `/chat/completions`."""
    head: Json
    """The canonical body without its messages."""
    last: bytes | None
    """The hash of the last message's link; null without messages."""


class Answered(msgspec.Struct, frozen=True, gc=False):
    """The provider's answer, whole."""

    status: int
    content_type: str
    streamed: bool
    """Whether `body` is a stream of server-sent events as it came."""
    body: bytes


class FinishedCall(msgspec.Struct, frozen=True, gc=False):
    """A call to keep, with what it adds to the journal."""

    key: CallKey
    asked: Asked
    answered: Answered
    links: tuple[Link, ...] = ()
    """The request's links that this attempt has not handed over before; those already kept are kept once."""
    pins: tuple[Pin, ...] = ()


class JournalCall(msgspec.Struct, frozen=True, gc=False):
    """A kept call without its answer."""

    key: CallKey
    seq: int
    """The number of its `model_call` event: the order in which calls were finished."""
    asked: Asked


class Journal(msgspec.Struct, frozen=True, gc=False):
    """What an attempt finds at its start: the finished calls of its run's generation and the pins."""

    calls: tuple[JournalCall, ...] = ()
    pins: tuple[Pin, ...] = ()
