"""What Anthropic puts on the wire: whole messages and streams, for the scripted provider."""

from tests.openai_wire import Answer, Json, ToolCall, decode, encode, sse


def message(answer: Answer, usage: Json | None = None) -> bytes:
    """The body of a message."""
    return encode(_message(answer, _blocks(answer), _stop(answer), usage or _usage(answer)))


def events(answer: Answer, usage: Json | None = None) -> list[bytes]:
    """The events of a streamed message; what it took is told at its start, and the rest at its end."""
    begun = {**(usage or _usage(answer)), "output_tokens": 1}
    told: list[Json] = [
        {"type": "message_start", "message": _message(answer, [], None, begun)},
        {"type": "ping"},
        *_block_events(answer),
        {
            "type": "message_delta",
            "delta": {"stop_reason": _stop(answer), "stop_sequence": None},
            "usage": {"output_tokens": answer.output_tokens},
        },
        {"type": "message_stop"},
    ]
    return [sse(event, str(event["type"])) for event in told]


def error_body(status: int, text: str) -> bytes:
    """An error in Anthropic's form."""
    kind = {429: "rate_limit_error", 529: "overloaded_error"}.get(status, "api_error")
    kind = "invalid_request_error" if status in (400, 404, 422) else kind
    return encode({"type": "error", "error": {"type": kind, "message": text}, "request_id": "req_1"})


def _message(answer: Answer, content: list[Json], stop: str | None, usage: Json) -> Json:
    head: Json = {"id": f"msg_{answer.id}", "type": "message", "role": "assistant", "model": answer.model}
    return {**head, "content": content, "stop_reason": stop, "stop_sequence": None, "usage": usage}


def _usage(answer: Answer) -> Json:
    return {
        "input_tokens": answer.input_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "output_tokens": answer.output_tokens,
        "service_tier": "standard",
    }


def _blocks(answer: Answer) -> list[Json]:
    if not answer.calls:
        return [{"type": "text", "text": answer.text}]
    return [_tool_use(call) | {"input": decode(call.arguments)} for call in answer.calls]


def _tool_use(call: ToolCall) -> Json:
    return {"type": "tool_use", "id": f"toolu_{call.id}", "name": call.name, "input": {}}


def _block_events(answer: Answer) -> list[Json]:
    if not answer.calls:
        words: list[Json] = [{"type": "text_delta", "text": word} for word in answer.words]
        return _block_event(0, {"type": "text", "text": ""}, words)
    deltas: list[Json] = [
        {"type": "input_json_delta", "partial_json": call.arguments} for call in answer.calls
    ]
    calls = zip(answer.calls, deltas, strict=True)
    return [
        event for n, (call, delta) in enumerate(calls) for event in _block_event(n, _tool_use(call), [delta])
    ]


def _block_event(n: int, opened: Json, deltas: list[Json]) -> list[Json]:
    return [
        {"type": "content_block_start", "index": n, "content_block": opened},
        *({"type": "content_block_delta", "index": n, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": n},
    ]


def _stop(answer: Answer) -> str:
    return "tool_use" if answer.calls else "end_turn"
