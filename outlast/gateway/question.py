"""A call's body, read for the journal: what it asks, by which it is known again, and the tools' results in it.

Pure. A body that is no JSON object, or that another reader could take for another one (NaN, lone surrogates, numbers
out of range, nested too deep), is `Unreadable`: such a call goes to the provider as it is and is never journalled.
Of keys that come twice in an object the last one counts.
"""

from collections.abc import Mapping

import msgspec

from outlast.chains import MESSAGES, chained, digest
from outlast.gateway import toolresults
from outlast.gateway.toolresults import ToolResult
from outlast.journal import Asked, Link
from outlast.runs import Json

PATHS = frozenset({"/chat/completions", "/responses", "/messages", "/embeddings"})
"""Calls whose answers are kept."""
IGNORED = frozenset({"stream", "stream_options", "user", "metadata", "prompt_cache_key"})
"""Say how the answer comes or who asks, not what is asked."""

_decode = msgspec.json.decode
_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_LIST = msgspec.json.Decoder(list[msgspec.Raw])


class Unreadable(Exception):
    """The body cannot be read in one certain way."""


class Question(msgspec.Struct, frozen=True):
    """What a call asks, however it is written and whoever asks it."""

    path: str
    head: Json
    """The canonical body without its messages; an empty list of them stays in it."""
    links: tuple[Link, ...]

    @property
    def asked(self) -> Asked:
        return Asked(self.path, self.head, self.links[-1].hash if self.links else None)

    @property
    def hash(self) -> bytes:
        """By which the same question is known."""
        last = self.links[-1].hash if self.links else b""
        return digest(b"\n".join((self.path.encode(), self.head, last)))


class Body:
    """A body taken apart, so that results of tools in it can be replaced before it is asked."""

    def __init__(self, path: str, body: bytes) -> None:
        """Raises `Unreadable`."""
        self._path = path
        self._original = body
        self._field = MESSAGES.get(path)
        self._is_changed = False
        try:
            self._fields = _FIELDS.decode(body)
            self._messages = _list(self._fields.get(self._field)) if self._field is not None else []
            self.results = toolresults.find(path, self._messages)
        except _ERRORS as error:
            raise Unreadable from error

    def replace(self, contents: Mapping[ToolResult, Json]) -> None:
        """Put other contents in the place of these results."""
        for result, content in contents.items():
            self._is_changed = True
            message = self._messages[result.message]
            self._messages[result.message] = toolresults.replaced(self._path, message, result, content)

    def question(self) -> Question:
        """What it asks; raises `Unreadable`."""
        try:
            head = {
                name: _decode(raw)
                for name, raw in self._fields.items()
                if name not in IGNORED and not (self._messages and name == self._field)
            }
            messages = (canonical(_decode(message)) for message in self._messages)
            return Question(self._path, canonical(head), chained(messages))
        except _ERRORS as error:
            raise Unreadable from error

    @property
    def bytes(self) -> bytes:
        """As it goes to the provider: untouched, unless something was replaced."""
        if not self._is_changed:
            return self._original
        return msgspec.json.encode({**self._fields, MESSAGES[self._path]: self._messages})


def canonical(value: object) -> Json:
    """The one way in which equal JSON is written: sorted keys, no spaces. 1 and 1.0 are not equal."""
    return msgspec.json.encode(value, order="sorted")


def _list(raw: msgspec.Raw | None) -> list[msgspec.Raw]:
    return _LIST.decode(raw) if raw is not None and bytes(memoryview(raw)[:1]) == b"[" else []


_ERRORS = (msgspec.MsgspecError, UnicodeError, RecursionError, OverflowError)
