"""What Anthropic puts on the wire: whole messages and streams, for the scripted provider."""

from tests.openai_wire import Answer, Json, encode, sse


def message(answer: Answer, usage: Json | None = None) -> bytes:
    """The body of a message."""
    return encode(_message(answer, [_block(answer)], _stop(answer), usage or _usage(answer)))


def events(answer: Answer, usage: Json | None = None) -> list[bytes]:
    """The events of a streamed message; what it took is told at its start, and the rest at its end."""
    begun = {**(usage or _usage(answer)), "output_tokens": 1}
    told: list[Json] = [
        {"type": "message_start", "message": _message(answer, [], None, begun)},
        {"type": "content_block_start", "index": 0, "content_block": _opened(answer)},
        {"type": "ping"},
        *({"type": "content_block_delta", "index": 0, "delta": delta} for delta in _deltas(answer)),
        {"type": "content_block_stop", "index": 0},
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
    head: Json = {"id": "msg_1", "type": "message", "role": "assistant", "model": answer.model}
    return {**head, "content": content, "stop_reason": stop, "stop_sequence": None, "usage": usage}


def _usage(answer: Answer) -> Json:
    return {
        "input_tokens": answer.input_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "output_tokens": answer.output_tokens,
        "service_tier": "standard",
    }


def _block(answer: Answer) -> Json:
    if answer.tool:
        return {"type": "tool_use", "id": "toolu_1", "name": answer.tool, "input": {}}
    return {"type": "text", "text": answer.text}


def _opened(answer: Answer) -> Json:
    return _block(answer) if answer.tool else {"type": "text", "text": ""}


def _deltas(answer: Answer) -> list[Json]:
    if answer.tool:
        return [{"type": "input_json_delta", "partial_json": answer.arguments}]
    return [{"type": "text_delta", "text": word} for word in answer.words]


def _stop(answer: Answer) -> str:
    return "tool_use" if answer.tool else "end_turn"
