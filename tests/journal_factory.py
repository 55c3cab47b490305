"""Finished model calls for tests, as a gateway would hand them over."""

import random
from string import ascii_letters

import msgspec

from outlast.chains import digest, taken_apart
from outlast.engine import Engine
from outlast.journal import Answered, CallKey, FinishedCall, Pin
from outlast.runs import Draft, EventKind, Run, Usage

PATH = "/chat/completions"
CALL = Draft(EventKind.MODEL_CALL, b'{"path":"/v1/chat/completions"}')


def noise(size: int) -> str:
    """Text that stays large when it is packed."""
    return "".join(random.Random(1).choices(ascii_letters, k=size))


def canonical(*messages: str, model: str = "m") -> bytes:
    """The canonical body of a request with these messages."""
    body = {"model": model, "messages": [{"role": "user", "content": text} for text in messages]}
    return msgspec.json.encode(body, order="sorted")


def finished(
    *messages: str, n: int = 1, answer: bytes = b'{"id":"1"}', status: int = 200, pins: tuple[Pin, ...] = ()
) -> FinishedCall:
    """A call with these messages, all of them handed over."""
    body = canonical(*messages)
    asked, links = taken_apart(PATH, body)
    key = CallKey(digest(PATH.encode() + body), n)
    return FinishedCall(key, asked, Answered(status, "application/json", False, answer), links, pins)


async def record(engine: Engine, run: Run, call: FinishedCall, attempt_id: str | None = None) -> Run:
    """Record the call for that attempt, or for the one that holds the run."""
    return await engine.record_call(run.id, attempt_id or run.attempt_id or "", Usage(1, 2, 3), CALL, call)
