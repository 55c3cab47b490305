"""A model provider that does nothing but answer, after a while or piece by piece: `python -m bench.provider PORT`.

How it answers, the request's model says: `after-MS` is a whole answer after so many milliseconds (a stream's first
piece comes then), `pieces-N` is a stream of so many pieces, one each 100 ms, each with the moment at which it was sent
(monotonic, ns).
"""

import asyncio
import sys
import time
from pathlib import Path

import msgspec
import uvicorn
from starlette.types import Receive, Scope, Send

from bench.server import Recipe

NAME = "provider"
APART_S = 0.1
_WHOLE = b"""{"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "bench", "choices": [{"index": 0,
"message": {"role": "assistant", "content": "Hello."}, "finish_reason": "stop"}],
"usage": {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}}"""
_PIECE = (
    b'data: {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "bench", "choices": '
    b'[{"index": 0, "delta": {"content": "%s"}, "finish_reason": null}]}\n\n'
)
_LAST = (
    b'data: {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "bench", "choices": '
    b'[{"index": 0, "delta": {}, "finish_reason": "stop"}]}\n\ndata: [DONE]\n\n'
)


class _Ask(msgspec.Struct):
    model: str
    stream: bool = False


async def provider(scope: Scope, receive: Receive, send: Send) -> None:
    """The application; anything but a POST is asked whether it is healthy."""
    if scope["method"] != "POST":
        return await _whole(send)
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message["body"], message["more_body"]
    ask = msgspec.json.decode(body, type=_Ask)
    how, _, amount = ask.model.partition("-")
    if how == "after":
        await asyncio.sleep(int(amount) / 1000)
    if not ask.stream:
        return await _whole(send)
    await _begin(send, b"text/event-stream")
    for n in range(int(amount) if how == "pieces" else 1):
        await asyncio.sleep(APART_S if n else 0)
        piece = _PIECE % str(time.monotonic_ns()).encode()
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": _LAST})


async def _whole(send: Send) -> None:
    await _begin(send, b"application/json")
    await send({"type": "http.response.body", "body": _WHOLE})


async def _begin(send: Send, kind: bytes) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind)]})


def recipe() -> Recipe:
    """How to start it."""
    root = Path(__file__).resolve().parent.parent
    command = [sys.executable, "-m", "bench.provider", "{port}"]
    return Recipe(NAME, command, b"", {"PYTHONPATH": str(root)})


if __name__ == "__main__":
    uvicorn.run(provider, port=int(sys.argv[1]), lifespan="off", log_level="warning", access_log=False)
