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
    """All of it, from a cache or not."""
    output: int | None = None
    cache_read: int | None = None
    """Of the input, what came from the provider's cache, which costs less."""
    cache_write: int | None = None
    """Of the input, what was put into it, which costs more."""
    cache_write_1h: int | None = None
    """Of that, what is kept for an hour, which costs more still."""


class Mark(Enum):
    """What an event of a stream is to the gateway."""

    PLAIN = "plain"
    USAGE_ONLY = "usage_only"
    """Tells the usage and nothing else: a chat completion's extra chunk, sent because it was asked for."""
    LAST = "last"
    """Nothing a client waits for comes after it."""


class _Details(msgspec.Struct, frozen=True):
    cached_tokens: int | None = None
    ephemeral_1h_input_tokens: int | None = None


class _Usage(msgspec.Struct, frozen=True):
    """The words of three APIs for it: chat completions, responses, messages."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: _Details | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    input_tokens_details: _Details | None = None
    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_creation: _Details | None = None


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
    message: str | _Whole | None = None


_read_whole = msgspec.json.Decoder(_Whole).decode
_read_event = msgspec.json.Decoder(_Event).decode
_ENDS = frozenset({"response.completed", "response.incomplete", "response.failed", "message_stop", "error"})


class Meter:
    """Reads one answer, whole or event by event."""

    def __init__(self) -> None:
        self._usage = _Usage()
        self.error: str | None = None
        """What the provider says went wrong."""

    @property
    def tokens(self) -> Tokens:
        """What has been said so far."""
        return _counted(self._usage)

    def whole(self, body: bytes, *, failed: bool = False) -> None:
        """Read an answer that came in one piece; a failure always has words."""
        try:
            self._take(_read_whole(body))
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            pass
        if failed and self.error is None:
            self.error = body[:MAX_REASON].decode(errors="replace") or "no reason given"

    def event(self, event: bytes) -> Mark:
        """Read one event of a stream, as it stands on the wire."""
        if not any(word in event for word in _TELLING):
            return Mark.LAST if len(event) < 32 and _data(event) == b"[DONE]" else Mark.PLAIN
        try:
            read = _read_event(_data(event))
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            return Mark.PLAIN
        begun = read.message if isinstance(read.message, _Whole) else None
        self._take(read.response or begun or _Whole(read.usage, read.error))
        if read.type == "error" and isinstance(read.message, str):
            self.error = read.message[:MAX_REASON]
        if read.type in _ENDS:
            return Mark.LAST
        return Mark.USAGE_ONLY if read.usage is not None and read.choices == () else Mark.PLAIN

    def _take(self, answer: _Whole) -> None:
        if answer.usage is not None:
            self._usage = _merged(self._usage, answer.usage)
        if answer.error is not None:
            self.error = _said(answer.error)


_TELLING = (b'"usage"', b'"error"', b'"message_stop"')


def _merged(old: _Usage, new: _Usage) -> _Usage:
    """A stream tells of its tokens more than once, and not of all of them each time; the last word on each counts."""
    fields = _Usage.__struct_fields__
    said = {name: value for name in fields if (value := getattr(new, name)) is not None}
    return msgspec.structs.replace(old, **said)


def _counted(usage: _Usage) -> Tokens:
    read, written = _sane(usage.cache_read_input_tokens), _sane(usage.cache_creation_input_tokens)
    fresh = _sane(_either(usage.prompt_tokens, usage.input_tokens))
    details = usage.prompt_tokens_details or usage.input_tokens_details
    kept = usage.cache_creation
    return Tokens(
        # Anthropic counts what has to do with its cache beside the input, OpenAI as a part of it.
        None if fresh is None else fresh + (read or 0) + (written or 0),
        _sane(_either(usage.completion_tokens, usage.output_tokens)),
        _either(read, _sane(details.cached_tokens) if details else None),
        written,
        _sane(kept.ephemeral_1h_input_tokens) if kept else None,
    )


def _either(first: int | None, second: int | None) -> int | None:
    return first if first is not None else second


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
