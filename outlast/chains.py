"""A request taken apart into its head and the chain of its messages, and put together again. Pure."""

import hashlib
from collections.abc import Iterable

import msgspec

from outlast.journal import Asked, Link
from outlast.runs import Json

_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_items = msgspec.json.Decoder(list[msgspec.Raw]).decode


def taken_apart(path: str, canonical: Json) -> tuple[Asked, tuple[Link, ...]]:
    """The request and the links of all its messages, in order.

    The head is the canonical body (compact JSON, keys sorted) without `messages`, or without `input` for `/responses`.
    A list without messages, or what is no list at all, stays in the head.
    """
    body = _fields(canonical)
    listed = body.get(_place(path))
    if listed is None or bytes(listed)[:1] != b"[" or not (messages := _items(listed)):
        return Asked(path, canonical, None), ()
    del body[_place(path)]
    links: list[Link] = []
    for message in messages:
        links.append(link(links[-1].hash if links else None, bytes(message)))
    return Asked(path, msgspec.json.encode(body), links[-1].hash), tuple(links)


def put_together(path: str, head: Json, messages: Iterable[Json]) -> Json:
    """The canonical body that was taken apart."""
    listed = b",".join(messages)
    if not listed:
        return head
    body = _fields(head) | {_place(path): msgspec.Raw(b"[%b]" % listed)}
    return msgspec.json.encode(body, order="sorted")


def link(before: bytes | None, content: Json) -> Link:
    """The link of a message, or (with nothing before it) the one under which a head is kept."""
    return Link(digest((before or b"") + content), before, content)


def digest(data: bytes) -> bytes:
    """What journals know bytes by: half a SHA-256, which is a third of a small row, and plenty within a tenant."""
    return hashlib.sha256(data).digest()[:16]


def _place(path: str) -> str:
    return "input" if path == "/responses" else "messages"
