"""A long conversation of an agent with a model, as requests and answers: each round a tool call and its result."""

import random
from collections.abc import Iterator
from pathlib import Path
from string import ascii_letters, digits

import msgspec

from outlast.chains import digest, taken_apart
from outlast.journal import Answered, CallKey, FinishedCall, Pin

PATH = "/chat/completions"
DOCS = Path(__file__).parents[1] / "docs"


class Conversation:
    """Text of documents, cut up; ids as providers draw them. The same for the same seed."""

    def __init__(self, *, streamed: bool, said: int, found: int) -> None:
        """`said` and `found` are the characters of an answer and of a tool's result, on average."""
        self._random = random.Random(1)
        self._text = " ".join("".join(path.read_text() for path in sorted(DOCS.glob("*.md"))).split())
        self._streamed, self._said, self._found = streamed, said, found
        self.body = b""
        """The last request."""

    def calls(self, rounds: int) -> Iterator[FinishedCall]:
        """One call a round; a call hands over what it adds."""
        messages: list[dict[str, object]] = []
        for role, size in (("system", 2000), ("user", 400)):
            messages.append({"role": role, "content": self._words(size)})
        known, pins = 0, tuple[Pin, ...]()
        for _ in range(rounds):
            self.body = msgspec.json.encode({**HEAD, "messages": messages}, order="sorted")
            asked, links = taken_apart(PATH, self.body)
            message = self._message()
            answer = Answered(200, *self._answer(message))
            key = CallKey(digest(PATH.encode() + self.body), 1)
            yield FinishedCall(key, asked, answer, links[known:], pins)
            known = len(links)
            result: dict[str, object] = {
                "role": "tool",
                "tool_call_id": self._id_of(message),
                "content": self._words(self._found),
            }
            pins = (Pin(self._id_of(message), 1, msgspec.json.encode(result["content"])),)
            messages += [message, result]

    def _id_of(self, message: dict[str, object]) -> str:
        return msgspec.convert(message["tool_calls"], list[_Call])[0].id

    def _message(self) -> dict[str, object]:
        arguments = msgspec.json.encode({"query": self._words(60)}).decode()
        function = {"name": "search_documents", "arguments": arguments}
        call = {"id": f"call_{self._drawn(24)}", "type": "function", "function": function}
        return {"role": "assistant", "content": self._words(self._said), "tool_calls": [call]}

    def _answer(self, message: dict[str, object]) -> tuple[str, bool, bytes]:
        frame = {
            "id": f"chatcmpl-{self._drawn(29)}",
            "created": 1_760_000_000 + self._random.randrange(10**6),
            "model": "gpt-4o-mini-2024-07-18",
            "service_tier": "default",
            "system_fingerprint": f"fp_{self._drawn(10)}",
        }
        usage = {
            "prompt_tokens": self._random.randrange(9999),
            "completion_tokens": self._random.randrange(999),
        }
        if not self._streamed:
            choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "tool_calls"}
            body = {**frame, "object": "chat.completion", "choices": [choice], "usage": usage}
            return "application/json", False, msgspec.json.encode(body)
        chunks = [
            {
                **frame,
                "object": "chat.completion.chunk",
                "choices": [{"index": 0, "delta": delta, "finish_reason": None}],
            }
            for delta in self._deltas(message)
        ]
        chunks.append({**frame, "object": "chat.completion.chunk", "choices": [], "usage": usage})
        lines = [b"data: %b\n\n" % msgspec.json.encode(chunk) for chunk in chunks]
        return "text/event-stream", True, b"".join(lines) + b"data: [DONE]\n\n"

    def _deltas(self, message: dict[str, object]) -> Iterator[dict[str, object]]:
        """A token is four characters or so."""
        yield {"role": "assistant", "content": ""}
        for piece in self._pieces(str(message["content"])):
            yield {"content": piece}
        (call,) = msgspec.convert(message["tool_calls"], list[dict[str, object]])
        function = msgspec.convert(call["function"], dict[str, str])
        yield {"tool_calls": [{**call, "index": 0, "function": function | {"arguments": ""}}]}
        for piece in self._pieces(function["arguments"]):
            yield {"tool_calls": [{"index": 0, "function": {"arguments": piece}}]}

    def _pieces(self, text: str) -> list[str]:
        return [text[at : at + 4] for at in range(0, len(text), 4)]

    def _words(self, size: int) -> str:
        size = round(size * self._random.uniform(0.5, 1.5))
        at = self._random.randrange(len(self._text) - size)
        return self._text[at : at + size]

    def _drawn(self, size: int) -> str:
        return "".join(self._random.choices(ascii_letters + digits, k=size))


class _Call(msgspec.Struct):
    id: str


HEAD: dict[str, object] = {
    "model": "gpt-4o-mini",
    "temperature": 0,
    "tools": [
        {
            "type": "function",
            "function": {
                "name": name,
                "description": f"{name.replace('_', ' ').capitalize()} and return what was found, as text.",
                "parameters": {
                    "type": "object",
                    "properties": {"query": {"type": "string", "description": "What to look for."}},
                    "required": ["query"],
                    "additionalProperties": False,
                },
            },
        }
        for name in ("search_documents", "read_document", "search_web", "run_query", "send_mail")
    ],
}
