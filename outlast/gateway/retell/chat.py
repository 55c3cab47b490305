"""Chat completions: chunks put together to a completion, and a completion told in chunks."""

from outlast.gateway.retell.sse import DONE, Json, event, listing, mapping, objects, position

_NOT_JOINED = frozenset({"role", "type", "id", "name", "index"})
"""Texts that say what a part is: a later one takes the place of the first instead of going on with it."""
_ONLY_WHOLE = frozenset({"choices", "object", "usage"})


def whole(stream: bytes) -> Json | None:
    """The completion that a stream told; None unless every choice was told to its end."""
    completion: Json = {}
    choices: dict[int, Json] = {}
    for chunk in objects(stream):
        completion.update({name: value for name, value in chunk.items() if value is not None})
        for part in listing(chunk.get("choices")):
            index = position(part.get("index"))
            choice = choices.setdefault(index, {"index": index, "message": {}, "finish_reason": None})
            _join(mapping(choice["message"]), mapping(part.get("delta")))
            rest = {name: part[name] for name in part if name not in ("index", "delta")}
            _join(choice, {name: value for name, value in rest.items() if value is not None})
    if not choices or any(choice["finish_reason"] is None for choice in choices.values()):
        return None
    told = [_finished(choices[index]) for index in sorted(choices)]
    return {**completion, "object": "chat.completion", "choices": told}


def stream(completion: Json, *, with_usage: bool) -> bytes:
    """A completion in a few chunks."""
    head = {name: value for name, value in completion.items() if name not in _ONLY_WHOLE}
    head["object"] = "chat.completion.chunk"
    parts = []
    for choice in listing(completion.get("choices")):
        index = choice.get("index", 0)
        delta = {"index": index, "delta": _delta(mapping(choice.get("message"))), "finish_reason": None}
        if choice.get("logprobs") is not None:
            delta["logprobs"] = choice["logprobs"]
        parts += [delta, {"index": index, "delta": {}, "finish_reason": choice.get("finish_reason")}]
    chunks: list[Json] = [{**head, "choices": [part]} for part in parts]
    if with_usage and completion.get("usage") is not None:
        chunks.append({**head, "choices": [], "usage": completion["usage"]})
    return b"".join(map(event, chunks)) + DONE


def _finished(choice: Json) -> Json:
    message = {"role": "assistant", "content": None, **mapping(choice["message"])}
    if "tool_calls" in message:
        calls = listing(message["tool_calls"])
        message["tool_calls"] = [{name: call[name] for name in call if name != "index"} for call in calls]
        message["content"] = message["content"] or None
    return {**choice, "message": message}


def _delta(message: Json) -> Json:
    calls = listing(message.get("tool_calls"))
    delta = {name: value for name, value in message.items() if name != "tool_calls"}
    return {**delta, "tool_calls": [{"index": n, **call} for n, call in enumerate(calls)]} if calls else delta


def _join(whole: Json, part: Json) -> None:
    """Go on with a message where the parts before have ended."""
    for name, value in part.items():
        before = whole.get(name)
        match before, value:
            case _, None:
                whole.setdefault(name, None)
            case str(), str() if name in _NOT_JOINED:
                whole[name] = value or before
            case str(), str():
                whole[name] = before + value
            case dict(), dict():
                _join(before, value)
            case list(), list():
                _join_lists(before, value)
            case None, list():
                whole[name] = _listed(value)
            case None, dict():
                whole[name] = _joined(value)
            case _:
                whole[name] = value


def _joined(part: Json) -> Json:
    whole: Json = {}
    _join(whole, part)
    return whole


def _listed(parts: list[object]) -> list[object]:
    whole: list[object] = []
    _join_lists(whole, parts)
    return whole


def _join_lists(whole: list[object], parts: list[object]) -> None:
    """Parts that have an index go on with the one of that index; others are further ones."""
    for part in parts:
        if not isinstance(part, dict) or "index" not in part:
            whole.append(part)
            continue
        known = next((item for item in listing(whole) if item.get("index") == part["index"]), None)
        if known is None:
            whole.append(_joined(part))
        else:
            _join(known, part)
