"""Responses: events put together to a response, and a response told in events."""

from outlast.gateway.retell.sse import Json, listing, mapping, objects, typed

_ENDS = frozenset({"response.completed", "response.incomplete"})


def whole(stream: bytes) -> Json | None:
    """The response that a stream told: its last event has all of it. None if it did not come to that."""
    last = next((event for event in reversed(objects(stream)) if event.get("type") in _ENDS), None)
    return None if last is None else mapping(last.get("response")) or None


def stream(response: Json) -> bytes:
    """A response in a few events."""
    begun = {**response, "status": "in_progress", "output": [], "usage": None}
    events: list[Json] = [
        {"type": "response.created", "response": begun},
        {"type": "response.in_progress", "response": begun},
    ]
    for index, item in enumerate(listing(response.get("output"))):
        events += _item(index, item)
    end = "response.incomplete" if response.get("status") == "incomplete" else "response.completed"
    events.append({"type": end, "response": response})
    return typed([{**event, "sequence_number": n} for n, event in enumerate(events)])


def _item(index: int, item: Json) -> list[Json]:
    where = {"item_id": item.get("id"), "output_index": index}
    match item.get("type"):
        case "message":
            begun, inner = {**item, "content": []}, _parts(where, listing(item.get("content")))
        case "function_call":
            begun, inner = {**item, "arguments": ""}, _arguments(where, item)
        case _:
            begun, inner = item, []
    return [
        {"type": "response.output_item.added", "output_index": index, "item": _in_progress(begun)},
        *inner,
        {"type": "response.output_item.done", "output_index": index, "item": item},
    ]


def _in_progress(item: Json) -> Json:
    return {**item, "status": "in_progress"} if "status" in item else item


def _parts(where: Json, parts: list[Json]) -> list[Json]:
    events: list[Json] = []
    for n, part in enumerate(parts):
        here = {**where, "content_index": n}
        blank: Json = {name: "" for name in ("text", "refusal") if name in part}
        empty = {**part, **blank}
        events.append({"type": "response.content_part.added", **here, "part": empty})
        events += _text(here, part)
        events.append({"type": "response.content_part.done", **here, "part": part})
    return events


def _text(here: Json, part: Json) -> list[Json]:
    match part.get("type"):
        case "output_text":
            logprobs = part.get("logprobs") or []
            return [
                {
                    "type": "response.output_text.delta",
                    **here,
                    "delta": part.get("text", ""),
                    "logprobs": logprobs,
                },
                {
                    "type": "response.output_text.done",
                    **here,
                    "text": part.get("text", ""),
                    "logprobs": logprobs,
                },
            ]
        case "refusal":
            return [
                {"type": "response.refusal.delta", **here, "delta": part.get("refusal", "")},
                {"type": "response.refusal.done", **here, "refusal": part.get("refusal", "")},
            ]
        case _:
            return []


def _arguments(where: Json, item: Json) -> list[Json]:
    arguments = item.get("arguments", "")
    done = {"arguments": arguments, "name": item.get("name")}
    return [
        {"type": "response.function_call_arguments.delta", **where, "delta": arguments},
        {"type": "response.function_call_arguments.done", **where, **done},
    ]
