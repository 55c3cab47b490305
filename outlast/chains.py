"""A request taken apart into its head and the chain of its messages, and put together again. Pure."""

import hashlib
from collections.abc import Iterable

import msgspec

from outlast.journal import Asked, Link
from outlast.runs import Json

MESSAGES = {"/chat/completions": "messages", "/messages": "messages", "/responses": "input"}
"""Under which name a request of each path has its messages; of any other path, all of it is head."""
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_items = msgspec.json.Decoder(list[msgspec.Raw]).decode


def taken_apart(path: str, canonical: Json) -> tuple[Asked, tuple[Link, ...]]:
    """The request and the links of all its messages, in order.

    The head is the canonical body (compact JSON, keys sorted) without its `MESSAGES`. A list without messages, or what
    is no list at all, stays in the head.
    """
    body = _fields(canonical)
    place = MESSAGES.get(path)
    listed = body.get(place) if place is not None else None
    if place is None or listed is None or bytes(listed)[:1] != b"[" or not (messages := _items(listed)):
        return Asked(path, canonical, None), ()
    del body[place]
    links = chained(map(bytes, messages))
    return Asked(path, msgspec.json.encode(body), links[-1].hash), links


def chained(messages: Iterable[Json]) -> tuple[Link, ...]:
    """Each canonical message with the link before it."""
    links: list[Link] = []
    for message in messages:
        links.append(link(links[-1].hash if links else None, message))
    return tuple(links)


def put_together(path: str, head: Json, messages: Iterable[Json]) -> Json:
    """The canonical body that was taken apart."""
    listed = b",".join(messages)
    if not listed:
        return head
    body = _fields(head) | {MESSAGES[path]: msgspec.Raw(b"[%b]" % listed)}
    return msgspec.json.encode(body, order="sorted")


def link(before: bytes | None, content: Json) -> Link:
    """The link of a message, or (with nothing before it) the one under which a head is kept."""
    return Link(digest((before or b"") + content), before, content)


def digest(data: bytes) -> bytes:
    """What journals know bytes by: half a SHA-256, which is a third of a small row, and plenty within a tenant."""
    return hashlib.sha256(data).digest()[:16]
