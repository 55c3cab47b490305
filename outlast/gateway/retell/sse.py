"""Server-sent events of model providers: each is one JSON object."""

import msgspec

from outlast.gateway.usage import Frames

Json = dict[str, object]

DONE = b"data: [DONE]\n\n"
_object = msgspec.json.Decoder(Json).decode


def objects(stream: bytes) -> list[Json]:
    """The events' data, in order; without the final `[DONE]`. Raises `MsgspecError` for any other that is no object."""
    frames = Frames()
    events = [*frames.feed(stream), frames.rest()]
    texts = (b"\n".join(_data(event)) for event in events)
    return [_object(text) for text in texts if text and text != b"[DONE]"]


def event(data: Json, name: str | None = None) -> bytes:
    """An event as it goes on the wire."""
    head = b"event: %b\n" % name.encode() if name else b""
    return head + b"data: %b\n\n" % msgspec.json.encode(data)


def typed(events: list[Json]) -> bytes:
    """Events that are named by their `type`."""
    return b"".join(event(data, str(data["type"])) for data in events)


def _data(event: bytes) -> list[bytes]:
    return [line[5:].strip() for line in event.splitlines() if line.startswith(b"data:")]


def mapping(value: object) -> Json:
    """The object that this is, or an empty one."""
    return value if isinstance(value, dict) else {}


def listing(value: object) -> list[Json]:
    """The objects in the list that this is, or none."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def position(value: object) -> int:
    return value if isinstance(value, int) else 0
