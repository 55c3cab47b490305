"""Reading a request's body: counted while it arrives, cut when it stalls. uvicorn does neither."""

import asyncio
from contextlib import suppress

import msgspec
from starlette.types import Message

from outlast.api.http import Gone, Request
from outlast.errors import BodyTooLarge, RequestTooSlow, UnsupportedMediaType

SWALLOW_BYTES = 32 * 1024 * 1024
"""How much of a body that is too large is still read away, so that its sender gets to see the answer."""


class Limits(msgspec.Struct, frozen=True):
    """What a body may cost."""

    max_bytes: int = 10 * 1024 * 1024
    pause_s: float = 10.0
    """Between two pieces of it."""
    whole_s: float = 120.0
    """From the first to the last."""


def require_json(request: Request) -> None:
    """Refuse what is not declared as plain UTF-8 JSON; compressed too, since a little of that unfolds into a lot."""
    encoding = request.header(b"content-encoding")
    if encoding is not None and encoding.lower() != "identity":
        raise UnsupportedMediaType(
            f"Content-Encoding {encoding[:40]} is not read here; send the body as it is."
        )
    declared = request.header(b"content-type")
    if declared == "application/json":
        return
    kind, _, parameters = (declared or "").partition(";")
    charset = _charset(parameters)
    if kind.strip().lower() != "application/json" or charset not in ("", "utf-8", "utf8"):
        said = f"not {declared[:80]}" if declared else "and it names none"
        raise UnsupportedMediaType(f"The body has to come as Content-Type: application/json, {said}.")


def _charset(parameters: str) -> str:
    for parameter in parameters.split(";"):
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset":
            return value.strip().strip('"').lower()
    return ""


async def read(request: Request, limits: Limits) -> bytes:
    """The whole body; `BodyTooLarge` or `RequestTooSlow` as soon as that is certain."""
    declared = _declared(request)
    if declared > limits.max_bytes:
        await _refuse(request, declared, limits)
    message = await _first(request, limits)
    body = _piece(message)
    if not message.get("more_body"):
        return _within(body, limits)
    return await _rest(request, bytearray(body), limits)


def _declared(request: Request) -> int:
    """The length that the head names, 0 if it names none; whether it is true, the counting shows."""
    text = request.header(b"content-length") or ""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else 0


async def _first(request: Request, limits: Limits) -> Message:
    """The first piece, mostly the only one and already there: with a bare timer, which is a tenth of a `timeout()`."""
    task = asyncio.current_task()
    assert task is not None
    stalled = False

    def stall() -> None:
        nonlocal stalled
        stalled = True
        task.cancel()

    timer = asyncio.get_running_loop().call_later(limits.pause_s, stall)
    try:
        return await request.receive()
    except asyncio.CancelledError:
        if stalled and task.uncancel() == 0:
            raise _too_slow(limits) from None
        raise
    finally:
        timer.cancel()


async def _rest(request: Request, body: bytearray, limits: Limits) -> bytes:
    now = asyncio.get_running_loop().time
    end = now() + limits.whole_s
    more = True
    try:
        async with asyncio.timeout(limits.pause_s) as deadline:
            while more and len(body) <= limits.max_bytes:
                deadline.reschedule(min(now() + limits.pause_s, end))
                message = await request.receive()
                more = bool(message.get("more_body"))
                body += _piece(message)
    except TimeoutError as error:
        raise _too_slow(limits) from error
    if len(body) > limits.max_bytes:
        await _refuse(request, len(body), limits)
    return bytes(body)


def _within(body: bytes, limits: Limits) -> bytes:
    if len(body) > limits.max_bytes:
        raise _too_large(limits)
    return body


async def _refuse(request: Request, size: int, limits: Limits) -> None:
    if request.header(b"expect") is None and size <= limits.max_bytes + SWALLOW_BYTES:
        await _swallow(request, limits)
    raise _too_large(limits)


async def _swallow(request: Request, limits: Limits) -> None:
    left, more = SWALLOW_BYTES, True
    with suppress(TimeoutError):
        async with asyncio.timeout(limits.pause_s):
            while left > 0 and more:
                message = await request.receive()
                more = bool(message.get("more_body"))
                left -= len(_piece(message))


def _piece(message: Message) -> bytes:
    if message["type"] == "http.disconnect":
        raise Gone
    piece: bytes = message.get("body", b"")
    return piece


def _too_large(limits: Limits) -> BodyTooLarge:
    return BodyTooLarge(f"The body is larger than the {limits.max_bytes} bytes this server accepts.")


def _too_slow(limits: Limits) -> RequestTooSlow:
    return RequestTooSlow(
        f"The body stopped arriving: nothing for {limits.pause_s:g} s, or not whole after {limits.whole_s:g} s."
    )
