"""The results of tools in a call's messages: where they are in each dialect, and how one is put in another's place.

A result is known by the call of the tool that it answers. Some providers number their tool calls from the same name on
in every answer, so that the id alone would mix up the results of agents that work in parallel; the tool's name, its
arguments and the place among equals go into it as well.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Sequence

import msgspec

from outlast.runs import Json

_NULL = msgspec.Raw(b"null")
_READABLE_ID = re.compile(r"[A-Za-z0-9_.:-]{1,64}")


class ToolResult(msgspec.Struct, frozen=True):
    """What a tool answered, where it stands in a request."""

    id: str
    """Of the tool's call: the same in every attempt."""
    content: Json
    """Canonical."""
    message: int
    """The index of its message."""
    block: int | None = None
    """The index within the message, in the dialect where one message has several."""


class _Function(msgspec.Struct):
    name: str = ""
    arguments: msgspec.Raw = _NULL


class _ChatCall(msgspec.Struct):
    id: str = ""
    function: _Function = msgspec.field(default_factory=_Function)


class _ChatMessage(msgspec.Struct):
    role: str = ""
    tool_call_id: str | None = None
    content: msgspec.Raw = _NULL
    tool_calls: list[_ChatCall] | None = None


class _Item(msgspec.Struct):
    type: str = ""
    call_id: str | None = None
    name: str = ""
    arguments: msgspec.Raw = _NULL
    output: msgspec.Raw = _NULL


class _Block(msgspec.Struct):
    type: str = ""
    id: str = ""
    name: str = ""
    input: msgspec.Raw = _NULL
    tool_use_id: str | None = None
    content: msgspec.Raw = _NULL
    is_error: bool | None = None


class _Message(msgspec.Struct):
    content: list[_Block] = []


class _Outcome(msgspec.Struct):
    """A result in Anthropic's dialect, where it says whether it is an error."""

    content: msgspec.Raw
    is_error: bool | None


_chat = msgspec.json.Decoder(_ChatMessage).decode
_item = msgspec.json.Decoder(_Item).decode
_message = msgspec.json.Decoder(_Message).decode
_outcome = msgspec.json.Decoder(_Outcome).decode
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class _Found(msgspec.Struct):
    """A call of a tool, or the result of one."""

    id: str
    called: bytes = b""
    """The tool and its arguments, if this is a call."""
    content: msgspec.Raw | bytes | None = None
    message: int = 0
    block: int | None = None


def find(path: str, messages: Sequence[msgspec.Raw]) -> tuple[ToolResult, ...]:
    """Every result, in order. What does not look like one is passed over."""
    look = {"/chat/completions": _in_chat, "/responses": _in_responses, "/messages": _in_messages}.get(path)
    if look is None:
        return ()
    called: dict[str, bytes] = {}
    seen: Counter[str] = Counter()
    results = []
    for n, message in enumerate(messages):
        for found in _tolerant(look(message)):
            if found.content is None:
                called[found.id] = found.called
                continue
            name = _name(found.id, called.get(found.id, b""))
            seen[name] += 1
            content = msgspec.json.encode(msgspec.json.decode(found.content), order="sorted")
            results.append(ToolResult(f"{name}.{seen[name]}", content, n, found.block))
    return tuple(results)


def replaced(path: str, message: msgspec.Raw, result: ToolResult, content: Json) -> msgspec.Raw:
    """The message, with this content for that result."""
    match path:
        case "/chat/completions":
            return _with(message, content=content)
        case "/responses":
            return _with(message, output=content)
        case _:
            blocks = msgspec.json.decode(_fields(message)["content"], type=list[msgspec.Raw])
            blocks[result.block or 0] = _with_outcome(blocks[result.block or 0], _outcome(content))
            return _with(message, content=msgspec.json.encode(blocks))


def _with_outcome(block: msgspec.Raw, outcome: _Outcome) -> msgspec.Raw:
    fields = {name: value for name, value in _fields(block).items() if name != "is_error"}
    if outcome.is_error is not None:
        fields["is_error"] = msgspec.Raw(msgspec.json.encode(outcome.is_error))
    return msgspec.Raw(msgspec.json.encode({**fields, "content": outcome.content}))


def _with(message: msgspec.Raw, **fields: Json) -> msgspec.Raw:
    changed = {**_fields(message), **{name: msgspec.Raw(value) for name, value in fields.items()}}
    return msgspec.Raw(msgspec.json.encode(changed))


def _tolerant(found: Iterator[_Found]) -> Iterator[_Found]:
    try:
        yield from found
    except msgspec.ValidationError:
        return  # not as the dialect has it: the provider will say so


def _in_chat(raw: msgspec.Raw) -> Iterator[_Found]:
    if b'"tool_call' in bytes(raw):
        message = _chat(raw)
        if message.role == "tool" and message.tool_call_id is not None:
            yield _Found(message.tool_call_id, content=message.content)
        for call in message.tool_calls or ():
            yield _Found(call.id, call.function.name.encode() + b"\n" + call.function.arguments)


def _in_responses(raw: msgspec.Raw) -> Iterator[_Found]:
    if b'"call_id"' in bytes(raw):
        item = _item(raw)
        if item.call_id is not None and item.type.endswith("_call_output"):
            yield _Found(item.call_id, content=item.output)
        elif item.call_id is not None:
            yield _Found(item.call_id, item.name.encode() + b"\n" + item.arguments)


def _in_messages(raw: msgspec.Raw) -> Iterator[_Found]:
    if b'"tool_' in bytes(raw):
        for n, block in enumerate(_message(raw).content):
            if (
                block.type == "tool_result"
                and block.tool_use_id is not None
                and bytes(block.content) != b"null"
            ):
                outcome = msgspec.json.encode(_Outcome(block.content, block.is_error))
                yield _Found(block.tool_use_id, content=outcome, block=n)
            elif block.type == "tool_use":
                yield _Found(block.id, block.name.encode() + b"\n" + block.input)


def _name(call_id: str, called: bytes) -> str:
    """One that any store keeps, whatever the id is made of."""
    known = hashlib.sha256(call_id.encode() + b"\n" + called).hexdigest()[:16]
    return f"{call_id}.{known}" if _READABLE_ID.fullmatch(call_id) else known
