"""The model of the clerks: asks for two squares at a time under random ids, and sums them up when it has ten.

It goes by what it is told alone, so it says the right sum only to an agent whose history is whole. What is wrong with a
history is kept in `wrong`: a call that was never handed out, a call without its result, a result of another call.
"""

import re
import sys
import threading
import uuid

import msgspec

from tests.openai_wire import Json, ToolCall
from tests.provider import Asked, Provider, Say

ROUNDS = 5
IDEAL = ROUNDS + 1
"""Calls that one task takes: five that ask for tools, one that answers."""
SUM = sum(n * n for n in range(1, 2 * ROUNDS + 1))
ANSWER = f"The sum is {SUM}."
"""What an agent is told in the end whose tools' results are all there."""


class Clerks:
    """Answers for a provider, and holds back the calls that a test names."""

    def __init__(self, provider: Provider, latency_s: float = 0.15) -> None:
        self.provider = provider
        self.wrong: list[str] = []
        self._latency_s = latency_s
        self._numbers: dict[str, int] = {}
        """What each tool call that was handed out asks the square of."""
        self._to_hold: dict[str, int] = {}
        self._paid: dict[str, list[Asked]] = {}
        self._lock = threading.Lock()
        provider.answer = self._answer

    def paid(self, case: str) -> list[Asked]:
        """The calls that reached the provider for this case: each of them costs."""
        return list(self._paid.get(case, ()))

    def in_flight(self, case: str) -> list[Asked]:
        """Those of them that have neither been answered nor been given up by who asked."""
        return [asked for asked in self.paid(case) if not asked.answered and asked.disconnected_at is None]

    def hold(self, case: str, number: int) -> None:
        """Begin to answer the case's call of this number, or the first after it, and stop until it is let go."""
        with self._lock:
            self._to_hold[case] = number

    def _answer(self, asked: Asked) -> Say:
        case = case_of(asked)
        with self._lock:
            paid = self._paid.setdefault(case, [])
            paid.append(asked)
            is_held = len(paid) >= self._to_hold.get(case, sys.maxsize)
            if is_held:
                del self._to_hold[case]
        return Say(
            text=f"The sum is {_sum(asked)}.",
            calls=tuple(self._next(asked)),
            id=uuid.uuid4().hex,
            delay_s=self._latency_s,
            hold_after=(2 if asked.json.get("stream") else 0) if is_held else None,
        )

    def _next(self, asked: Asked) -> list[ToolCall]:
        asked_for, told = history(asked.json)
        self._check(asked_for, told)
        if len(told) >= 2 * ROUNDS:
            return []
        return [self._call(len(told) + n) for n in (1, 2)]

    def _call(self, number: int) -> ToolCall:
        call = ToolCall("square", f'{{"n": {number}}}', f"call_{uuid.uuid4().hex[:24]}")
        self._numbers[call.id] = number
        return call

    def _check(self, asked_for: list[str], told: dict[str, str]) -> None:
        if sorted(asked_for) != sorted(told):
            self.wrong.append(f"calls {asked_for} have the results {told}")
        for call_id, text in told.items():
            found = re.search(r"\d+", text)
            if found is None or call_id not in self._numbers or int(found[0]) != self._numbers[call_id] ** 2:
                self.wrong.append(f"{call_id} asked for {self._numbers.get(call_id)} and got {text!r}")
        if len({self._numbers.get(call_id) for call_id in told}) != len(told):
            self.wrong.append(f"a number twice in {told}")


def _sum(asked: Asked) -> int:
    _, told = history(asked.json)
    return sum(int(found[0]) for text in told.values() if (found := re.search(r"\d+", text)))


def case_of(asked: Asked) -> str:
    """The case that a request belongs to, by the word in its prompt."""
    found = re.search(rb"case-[0-9a-z-]+", asked.body)
    return found[0].decode() if found else ""


def history(body: Json) -> tuple[list[str], dict[str, str]]:
    """The ids of the tool calls in a request of either form, and the result of each."""
    if "input" in body:
        items = _dicts(body["input"])
        calls = [str(item["call_id"]) for item in items if item.get("type") == "function_call"]
        results = [item for item in items if item.get("type") == "function_call_output"]
        return calls, {str(item["call_id"]): _text(item["output"]) for item in results}
    messages = _dicts(body["messages"])
    calls = [str(call["id"]) for message in messages for call in _dicts(message.get("tool_calls"))]
    results = [message for message in messages if message.get("role") == "tool"]
    return calls, {str(message["tool_call_id"]): _text(message["content"]) for message in results}


def _dicts(value: object) -> list[Json]:
    return msgspec.convert(value, list[Json]) if isinstance(value, list) else []


def _text(value: object) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
