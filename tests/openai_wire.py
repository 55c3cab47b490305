"""What an OpenAI-compatible provider puts on the wire: whole answers and streams, for the scripted provider."""

from collections.abc import Sequence

import msgspec

Json = dict[str, object]


class ToolCall(msgspec.Struct, frozen=True):
    """One of the tools that the model wants to be called."""

    name: str
    arguments: str = "{}"
    id: str = "call_1"


class Answer(msgspec.Struct, frozen=True):
    """What the model says, before it is put in the form of one endpoint."""

    model: str
    words: tuple[str, ...]
    """The text in the pieces a stream delivers it in."""
    input_tokens: int
    output_tokens: int
    calls: tuple[ToolCall, ...] = ()
    """Instead of saying anything."""
    id: str = "1"

    @property
    def text(self) -> str:
        return "".join(self.words)


def encode(value: object) -> bytes:
    """JSON as providers send it."""
    return msgspec.json.encode(value)


def decode(text: str) -> Json:
    """A JSON object."""
    return msgspec.json.decode(text, type=Json)


def sse(data: object, event: str | None = None) -> bytes:
    """One server-sent event."""
    head = b"event: " + event.encode() + b"\n" if event else b""
    return head + b"data: " + encode(data) + b"\n\n"


DONE = b"data: [DONE]\n\n"


def chat_answer(answer: Answer) -> bytes:
    """The body of a chat completion."""
    message: Json = {"role": "assistant", "content": answer.text}
    if answer.calls:
        message = {"role": "assistant", "content": None, "tool_calls": _chat_calls(answer)}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": _finish(answer)}
    return encode(
        {**_chat_head(answer, "chat.completion"), "choices": [choice], "usage": _chat_usage(answer)}
    )


def chat_chunks(answer: Answer, *, with_usage: bool) -> list[bytes]:
    """The events of a streamed chat completion; the usage chunk only when it was asked for."""
    deltas: list[Json] = [{"role": "assistant", "content": ""}]
    if answer.calls:
        deltas += [delta for n, call in enumerate(answer.calls) for delta in _chat_call_deltas(n, call)]
    else:
        deltas += [{"content": word} for word in answer.words]
    chunks = [_chat_chunk(answer, delta, None) for delta in deltas]
    chunks.append(_chat_chunk(answer, {}, _finish(answer)))
    if with_usage:
        head = _chat_head(answer, "chat.completion.chunk")
        chunks.append(sse({**head, "choices": [], "usage": _chat_usage(answer)}))
    return [*chunks, DONE]


def _chat_chunk(answer: Answer, delta: Json, finish: str | None) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    return sse({**_chat_head(answer, "chat.completion.chunk"), "choices": [choice]})


def _chat_head(answer: Answer, kind: str) -> Json:
    return {"id": f"chatcmpl-{answer.id}", "object": kind, "created": 1_800_000_000, "model": answer.model}


def _chat_call_deltas(n: int, call: ToolCall) -> list[Json]:
    """The id and the name first, then the arguments: some clients count on that order."""
    head = {"index": n, "id": call.id, "type": "function", "function": {"name": call.name, "arguments": ""}}
    rest = {"index": n, "function": {"arguments": call.arguments}}
    return [{"tool_calls": [head]}, {"tool_calls": [rest]}]


def _chat_calls(answer: Answer) -> list[Json]:
    return [
        {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
        for call in answer.calls
    ]


def _chat_usage(answer: Answer) -> Json:
    total = answer.input_tokens + answer.output_tokens
    return {
        "prompt_tokens": answer.input_tokens,
        "completion_tokens": answer.output_tokens,
        "total_tokens": total,
    }


def _finish(answer: Answer) -> str:
    return "tool_calls" if answer.calls else "stop"


def responses_answer(answer: Answer) -> bytes:
    """The body of a finished response."""
    return encode(_response(answer, "completed", _items(answer, "completed")))


def responses_events(answer: Answer) -> list[bytes]:
    """The events of a streamed response."""
    whole = _items(answer, "completed")
    begun = _items(answer, "in_progress")
    parts: list[Json] = []
    for n, (first, last) in enumerate(zip(begun, whole, strict=True)):
        parts.append({"type": "response.output_item.added", "output_index": n, "item": first})
        parts += _call_deltas(n, answer.calls[n]) if answer.calls else _text_deltas(answer)
        parts.append({"type": "response.output_item.done", "output_index": n, "item": last})
    events: list[Json] = [
        {"type": "response.created", "response": _response(answer, "in_progress", [])},
        *parts,
        {"type": "response.completed", "response": _response(answer, "completed", whole)},
    ]
    return [sse({**event, "sequence_number": n}, str(event["type"])) for n, event in enumerate(events)]


def _text_deltas(answer: Answer) -> list[Json]:
    where: Json = {"item_id": f"msg_{answer.id}", "output_index": 0, "content_index": 0}
    deltas: list[Json] = [
        {"type": "response.output_text.delta", "delta": word, "logprobs": []} for word in answer.words
    ]
    done: Json = {"type": "response.output_text.done", "text": answer.text, "logprobs": []}
    part: Json = {"type": "response.content_part.done", "part": _part(answer.text)}
    opened: Json = {"type": "response.content_part.added", "part": _part("")}
    return [{**event, **where} for event in (opened, *deltas, done, part)]


def _call_deltas(n: int, call: ToolCall) -> list[Json]:
    where = {"item_id": f"fc_{call.id}", "output_index": n}
    delta = {"type": "response.function_call_arguments.delta", "delta": call.arguments}
    done = {"type": "response.function_call_arguments.done", "arguments": call.arguments, "name": call.name}
    return [{**event, **where} for event in (delta, done)]


def _part(text: str) -> Json:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _items(answer: Answer, status: str) -> list[Json]:
    done = status == "completed"
    if answer.calls:
        return [_call_item(call, status, call.arguments if done else "") for call in answer.calls]
    content = [_part(answer.text)] if done else []
    message = {"id": f"msg_{answer.id}", "type": "message", "role": "assistant"}
    return [{**message, "status": status, "content": content}]


def _call_item(call: ToolCall, status: str, arguments: str) -> Json:
    head = {"id": f"fc_{call.id}", "type": "function_call", "call_id": call.id, "status": status}
    return {**head, "name": call.name, "arguments": arguments}


def _response(answer: Answer, status: str, output: Sequence[Json]) -> Json:
    usage = {
        "input_tokens": answer.input_tokens,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": answer.output_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": answer.input_tokens + answer.output_tokens,
    }
    return {
        "id": f"resp_{answer.id}",
        "object": "response",
        "created_at": 1_800_000_000,
        "model": answer.model,
        "status": status,
        "output": list(output),
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "temperature": 1.0,
        "top_p": 1.0,
        "usage": usage if status == "completed" else None,
    }


def embeddings_answer(model: str, inputs: int) -> bytes:
    """The body of an embeddings answer: the same small vector for each input."""
    data = [{"object": "embedding", "index": n, "embedding": [0.25, 0.5]} for n in range(inputs)]
    usage = {"prompt_tokens": 3 * inputs, "total_tokens": 3 * inputs}
    return encode({"object": "list", "data": data, "model": model, "usage": usage})


def error_body(status: int, message: str) -> bytes:
    """An error in OpenAI's form."""
    kind = "invalid_request_error" if status < 500 else "server_error"
    return encode({"error": {"message": message, "type": kind, "param": None, "code": None}})
