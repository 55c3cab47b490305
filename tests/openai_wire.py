"""What an OpenAI-compatible provider puts on the wire: whole answers and streams, for the scripted provider."""

from collections.abc import Sequence

import msgspec

Json = dict[str, object]


class Answer(msgspec.Struct, frozen=True):
    """What the model says, before it is put in the form of one endpoint."""

    model: str
    words: tuple[str, ...]
    """The text in the pieces a stream delivers it in."""
    input_tokens: int
    output_tokens: int
    tool: str | None = None
    arguments: str = "{}"

    @property
    def text(self) -> str:
        return "".join(self.words)


def encode(value: object) -> bytes:
    """JSON as providers send it."""
    return msgspec.json.encode(value)


def sse(data: object, event: str | None = None) -> bytes:
    """One server-sent event."""
    head = b"event: " + event.encode() + b"\n" if event else b""
    return head + b"data: " + encode(data) + b"\n\n"


DONE = b"data: [DONE]\n\n"


def chat_answer(answer: Answer) -> bytes:
    """The body of a chat completion."""
    message: Json = {"role": "assistant", "content": answer.text}
    if answer.tool:
        message = {"role": "assistant", "content": None, "tool_calls": [_chat_call(answer)]}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": _finish(answer)}
    return encode(
        {**_chat_head(answer, "chat.completion"), "choices": [choice], "usage": _chat_usage(answer)}
    )


def chat_chunks(answer: Answer, *, with_usage: bool) -> list[bytes]:
    """The events of a streamed chat completion; the usage chunk only when it was asked for."""
    deltas: list[Json] = [{"role": "assistant", "content": ""}]
    if answer.tool:
        deltas.append({"tool_calls": [{"index": 0, **_chat_call(answer)}]})
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
    return {"id": "chatcmpl-1", "object": kind, "created": 1_800_000_000, "model": answer.model}


def _chat_call(answer: Answer) -> Json:
    return {
        "id": "call_1",
        "type": "function",
        "function": {"name": answer.tool, "arguments": answer.arguments},
    }


def _chat_usage(answer: Answer) -> Json:
    total = answer.input_tokens + answer.output_tokens
    return {
        "prompt_tokens": answer.input_tokens,
        "completion_tokens": answer.output_tokens,
        "total_tokens": total,
    }


def _finish(answer: Answer) -> str:
    return "tool_calls" if answer.tool else "stop"


def responses_answer(answer: Answer) -> bytes:
    """The body of a finished response."""
    return encode(_response(answer, "completed", [_item(answer, "completed")]))


def responses_events(answer: Answer) -> list[bytes]:
    """The events of a streamed response."""
    events: list[Json] = [
        {"type": "response.created", "response": _response(answer, "in_progress", [])},
        {"type": "response.output_item.added", "output_index": 0, "item": _item(answer, "in_progress")},
        *(_call_deltas(answer) if answer.tool else _text_deltas(answer)),
        {"type": "response.output_item.done", "output_index": 0, "item": _item(answer, "completed")},
        {
            "type": "response.completed",
            "response": _response(answer, "completed", [_item(answer, "completed")]),
        },
    ]
    return [sse({**event, "sequence_number": n}, str(event["type"])) for n, event in enumerate(events)]


def _text_deltas(answer: Answer) -> list[Json]:
    where: Json = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    deltas: list[Json] = [
        {"type": "response.output_text.delta", "delta": word, "logprobs": []} for word in answer.words
    ]
    done: Json = {"type": "response.output_text.done", "text": answer.text, "logprobs": []}
    part: Json = {"type": "response.content_part.done", "part": _part(answer.text)}
    opened: Json = {"type": "response.content_part.added", "part": _part("")}
    return [{**event, **where} for event in (opened, *deltas, done, part)]


def _call_deltas(answer: Answer) -> list[Json]:
    where = {"item_id": "fc_1", "output_index": 0}
    delta = {"type": "response.function_call_arguments.delta", "delta": answer.arguments}
    done = {
        "type": "response.function_call_arguments.done",
        "arguments": answer.arguments,
        "name": answer.tool,
    }
    return [{**event, **where} for event in (delta, done)]


def _part(text: str) -> Json:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _item(answer: Answer, status: str) -> Json:
    done = status == "completed"
    if answer.tool:
        arguments = answer.arguments if done else ""
        call = {"id": "fc_1", "type": "function_call", "call_id": "call_1", "status": status}
        return {**call, "name": answer.tool, "arguments": arguments}
    content = [_part(answer.text)] if done else []
    return {"id": "msg_1", "type": "message", "role": "assistant", "status": status, "content": content}


def _response(answer: Answer, status: str, output: Sequence[Json]) -> Json:
    usage = {
        "input_tokens": answer.input_tokens,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": answer.output_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": answer.input_tokens + answer.output_tokens,
    }
    return {
        "id": "resp_1",
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
