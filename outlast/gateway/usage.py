"""How many tokens a call took, read from what the provider answers. Reads beside the bytes, never changes one."""

import re
from enum import Enum

import msgspec

TOKENS_MAX = 10**12
"""More than any call can use; a number above it is a mistake of the provider's, and would not fit the store."""
MAX_REASON = 500
MAX_EVENT = 16 * 1024 * 1024
"""A stream without a blank line for so long is passed on as it comes."""


class Tokens(msgspec.Struct, frozen=True):
    """What the provider says a call took; None where it does not say."""

    input: int | None = None
    output: int | None = None


class Mark(Enum):
    """What an event of a stream is to the gateway."""

    PLAIN = "plain"
    USAGE_ONLY = "usage_only"
    """Tells the usage and nothing else: a chat completion's extra chunk, sent because it was asked for."""
    LAST = "last"
    """Nothing a client waits for comes after it."""


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None


class _Error(msgspec.Struct):
    message: str | None = None


class _Whole(msgspec.Struct):
    usage: _Usage | None = None
    error: _Error | str | None = None


class _Event(msgspec.Struct):
    type: str | None = None
    choices: tuple[msgspec.Raw, ...] | None = None
    usage: _Usage | None = None
    response: _Whole | None = None
    error: _Error | str | None = None
    message: str | None = None


_read_whole = msgspec.json.Decoder(_Whole).decode
_read_event = msgspec.json.Decoder(_Event).decode
_ENDS = frozenset({"response.completed", "response.incomplete", "response.failed", "error"})


class Meter:
    """Reads one answer, whole or event by event."""

    def __init__(self) -> None:
        self.tokens = Tokens()
        self.error: str | None = None
        """What the provider says went wrong."""

    def whole(self, body: bytes, *, failed: bool = False) -> None:
        """Read an answer that came in one piece; a failure always has words."""
        try:
            self._take(_read_whole(body))
        except msgspec.MsgspecError:
            pass
        if failed and self.error is None:
            self.error = body[:MAX_REASON].decode(errors="replace") or "no reason given"

    def event(self, event: bytes) -> Mark:
        """Read one event of a stream, as it stands on the wire."""
        if b'"usage"' not in event and b'"error"' not in event:
            return Mark.LAST if len(event) < 32 and _data(event) == b"[DONE]" else Mark.PLAIN
        try:
            read = _read_event(_data(event))
        except msgspec.MsgspecError:
            return Mark.PLAIN
        self._take(read.response or _Whole(read.usage, read.error))
        if read.type == "error" and read.message:
            self.error = read.message[:MAX_REASON]
        if read.type in _ENDS:
            return Mark.LAST
        return Mark.USAGE_ONLY if read.usage is not None and read.choices == () else Mark.PLAIN

    def _take(self, answer: _Whole) -> None:
        if answer.usage is not None:
            self.tokens = _counted(answer.usage)
        if answer.error is not None:
            self.error = _said(answer.error)


def _counted(usage: _Usage) -> Tokens:
    return Tokens(
        _sane(usage.prompt_tokens if usage.prompt_tokens is not None else usage.input_tokens),
        _sane(usage.completion_tokens if usage.completion_tokens is not None else usage.output_tokens),
    )


def _sane(tokens: int | None) -> int | None:
    """A provider's word, as far as it can be one: what no call could use is as good as unknown."""
    return tokens if tokens is not None and 0 <= tokens <= TOKENS_MAX else None


def _said(error: _Error | str) -> str:
    words = error if isinstance(error, str) else error.message
    return (words or "no reason given")[:MAX_REASON]


def _data(event: bytes) -> bytes:
    lines = (line[5:].strip() for line in event.splitlines() if line.startswith(b"data:"))
    return b"\n".join(lines)


_BLANK_LINE = re.compile(rb"\r?\n\r?\n")


class Frames:
    """Cuts a stream into whole server-sent events; put together again they are the same bytes."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """The events that are whole now; what is left over waits for the rest of its event."""
        if not self._rest and data.endswith(b"\n\n") and data.count(b"\n\n") == 1 and b"\r" not in data:
            return [data]
        # A blank line may have begun in what was left over.
        start, at = max(0, len(self._rest) - 3), 0
        self._rest += data
        events = []
        for blank in _BLANK_LINE.finditer(self._rest, start):
            events.append(bytes(self._rest[at : blank.end()]))
            at = blank.end()
        if len(self._rest) - at > MAX_EVENT:
            events.append(bytes(self._rest[at:]))
            at = len(self._rest)
        del self._rest[:at]
        return events

    def rest(self) -> bytes:
        """What the stream ended with, when that was not a whole event."""
        return bytes(self._rest)
