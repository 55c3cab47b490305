"""The nouns of the journal: finished model calls that an attempt can have again for nothing. Data only.

docs/decisions/0080 says what is the same call, what is kept, and for how long.
"""

import msgspec

from outlast.runs import Body, Json


class CallKey(msgspec.Struct, frozen=True, gc=False):
    """What makes two calls of a run the same: the content, and how often this attempt has asked it."""

    hash: bytes
    """`chains.digest` of what stands for the path and the canonical body."""
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
    """Of `before` (nothing for the first) and `content`, as `chains.link` makes it."""
    before: bytes | None
    content: Json
    """The message as it stands in the canonical body."""


class Asked(msgspec.Struct, frozen=True, gc=False):
    """A request as it is kept: what it has beside its messages, and the chain that its messages are."""

    path: str
    """Below the base URL: `/chat/completions`."""
    head: Json
    """The canonical body without its messages, as `chains.taken_apart` leaves it."""
    last: bytes | None
    """The hash of the last message's link; null when the head is all of it."""


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
    """The request's links that this attempt has not handed over before; those already kept are kept once.

    Handed over is what a `record_call` had that returned, and what stands before the `last` of a call that the attempt
    found in its journal. Only such links stay; any other may have been swept, so it has to come again.
    """
    pins: tuple[Pin, ...] = ()


class JournalCall(msgspec.Struct, frozen=True, gc=False):
    """A kept call without its answer."""

    key: CallKey
    seq: int
    """The number of its `model_call` event: the order in which calls were finished.

    Below 1 it was copied from the run that this one was forked from, whose events these are not.
    """
    asked: Asked


class Journal(msgspec.Struct, frozen=True, gc=False):
    """What an attempt finds at its start: the finished calls of its run's generation and the pins."""

    calls: tuple[JournalCall, ...] = ()
    pins: tuple[Pin, ...] = ()


# As the store keeps it: bytes are packed (`packing`), large ones lie in the blobs.


class KeptLink(msgspec.Struct, frozen=True, gc=False):
    """A link, or (with nothing before it) a head."""

    hash: bytes
    before: bytes | None
    content: Body


class KeptPin(msgspec.Struct, frozen=True, gc=False):
    """A pin under a short key; the whole of it is in its content."""

    key: bytes
    """Made of the tool call id, which may be of any length."""
    k: int
    content: Body


class KeptCall(msgspec.Struct, frozen=True, gc=False):
    """A call to be kept, ready to be written."""

    key: CallKey
    head: bytes
    """The hash under which path and head are kept, among the links."""
    last: bytes | None
    status: int
    streamed: bool
    answer: Body
    """With its content type."""
    links: tuple[KeptLink, ...] = ()
    pins: tuple[KeptPin, ...] = ()


class Entry(msgspec.Struct, frozen=True, gc=False):
    """A call in its place in the journal of its run."""

    generation: int
    seq: int
    call: KeptCall


class Fork(msgspec.Struct, frozen=True, gc=False):
    """The journal that a new run begins with: that of a finished run's generation."""

    run_id: str
    generation: int
    forgets_last: bool
    """Whether the last answered call is left out."""


class CallRow(msgspec.Struct, frozen=True, gc=False):
    """A kept call without its answer and its head."""

    key: CallKey
    seq: int
    head: bytes
    last: bytes | None


class KeptAnswer(msgspec.Struct, frozen=True, gc=False):
    """An answer as it is kept."""

    status: int
    streamed: bool
    packed: bytes
    """Content type and body."""


class JournalRows(msgspec.Struct, frozen=True, gc=False):
    """A journal as the store has it."""

    calls: tuple[CallRow, ...]
    """In the order of their numbers."""
    heads: dict[bytes, bytes]
    """The packed paths and heads of these calls, by hash."""
    pins: tuple[tuple[int, bytes], ...]
    """k and the packed pin."""
