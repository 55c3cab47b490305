"""Anthropic's messages: events put together to a message, and a message told in events."""

import msgspec

from outlast.gateway.retell.sse import Json, listing, mapping, objects, position, typed

_TEXTS = {"text_delta": "text", "thinking_delta": "thinking", "signature_delta": "signature"}


def whole(stream: bytes) -> Json | None:
    """The message that a stream told; None if it did not come to its end."""
    message: Json = {}
    blocks: dict[int, Json] = {}
    arguments: dict[int, str] = {}
    for event in objects(stream):
        index = position(event.get("index"))
        match event.get("type"):
            case "message_start":
                message = dict(mapping(event.get("message")))
            case "content_block_start":
                blocks[index] = dict(mapping(event.get("content_block")))
            case "content_block_delta":
                _grow(index, mapping(event.get("delta")), blocks, arguments)
            case "message_delta":
                usage = {**mapping(message.get("usage")), **mapping(event.get("usage"))}
                message.update({**mapping(event.get("delta")), "usage": usage})
            case "message_stop":
                for n, text in arguments.items():
                    blocks[n]["input"] = msgspec.json.decode(text or "{}")
                return {**message, "content": [blocks[n] for n in sorted(blocks)]}
            case _:
                pass
    return None


def _grow(index: int, delta: Json, blocks: dict[int, Json], arguments: dict[int, str]) -> None:
    block = blocks.setdefault(index, {})
    match delta.get("type"):
        case "input_json_delta":
            arguments[index] = arguments.get(index, "") + str(delta.get("partial_json", ""))
        case "citations_delta":
            block["citations"] = [*listing(block.get("citations")), delta.get("citation")]
        case str(kind) if kind in _TEXTS:
            name = _TEXTS[kind]
            block[name] = str(block.get(name) or "") + str(delta.get(name, ""))
        case _:
            pass


def stream(message: Json) -> bytes:
    """A message in a few events."""
    usage = mapping(message.get("usage"))
    begun = {**message, "content": [], "stop_reason": None, "stop_sequence": None}
    events: list[Json] = [
        {"type": "message_start", "message": {**begun, "usage": {**usage, "output_tokens": 0}}}
    ]
    for index, block in enumerate(listing(message.get("content"))):
        empty, deltas = _told(block)
        events.append({"type": "content_block_start", "index": index, "content_block": empty})
        events += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
        events.append({"type": "content_block_stop", "index": index})
    end = {"stop_reason": message.get("stop_reason"), "stop_sequence": message.get("stop_sequence")}
    events += [{"type": "message_delta", "delta": end, "usage": usage}, {"type": "message_stop"}]
    return typed(events)


def _told(block: Json) -> tuple[Json, list[Json]]:
    """A block as it begins, and what it grows by."""
    match block.get("type"):
        case "text":
            cited: list[Json] = [
                {"type": "citations_delta", "citation": one} for one in listing(block.get("citations"))
            ]
            text = {"type": "text_delta", "text": block.get("text", "")}
            return {"type": "text", "text": ""}, [*cited, text]
        case "thinking":
            deltas = [(kind, name) for kind, name in _TEXTS.items() if name in block]
            return {"type": "thinking", "thinking": "", "signature": ""}, [
                {"type": kind, name: block[name]} for kind, name in deltas
            ]
        case "tool_use" | "server_tool_use":
            arguments = msgspec.json.encode(block.get("input", {})).decode()
            return {**block, "input": {}}, [{"type": "input_json_delta", "partial_json": arguments}]
        case _:
            return block, []
