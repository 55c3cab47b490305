"""The routes of what comes out of a run: its events, its result."""

import re

import msgspec
from starlette.types import Receive, Send

from outlast.api import render
from outlast.api.edge import Edge
from outlast.api.http import JSON, Answer, Header, Reply, Request, push
from outlast.api.stream import EventStream
from outlast.errors import InvalidQuery, RangeNotSatisfiable

_NUMBER = re.compile(r"\d{1,15}", re.ASCII)
_RANGE = re.compile(r"bytes=(\d{0,15})-(\d{0,15})", re.ASCII)


async def stream(edge: Edge, request: Request) -> Answer:
    """GET /api/v1/runs/{job_id}/stream"""
    after = _after(request)
    named, tokens = request.flag("named"), request.flag("tokens")
    run = await edge.engine.get(request.caller, request.job_id)
    if run.is_final and after >= run.seq:
        return Reply(204, headers=())
    return EventStream(
        engine=edge.engine,
        draining=edge.closing,
        open_streams=edge.streams,
        caller=request.caller,
        run_id=run.id,
        result_url=_raw_url(edge, request),
        after=min(after, run.seq),
        named=named,
        tokens=tokens,
        head_only=request.scope["method"] == "HEAD",
    )


def _after(request: Request) -> int:
    """The last event the reader has; what its browser says on reconnecting is newer than what the address says."""
    text = request.header(b"last-event-id") or request.query.get("after") or "0"
    if not _NUMBER.fullmatch(text):
        raise InvalidQuery("Last-Event-ID and after are the number of the last event that was seen.")
    return int(text)


async def result(edge: Edge, request: Request) -> Answer:
    """GET /api/v1/runs/{job_id}/result"""
    run, json = await edge.engine.result(request.caller, request.job_id)
    inline = json if len(json) <= render.INLINE_RESULT else None
    return Reply(200, render.result(run, inline, _raw_url(edge, request)))


async def raw_result(edge: Edge, request: Request) -> Answer:
    """GET /api/v1/runs/{job_id}/result/raw"""
    run, json = await edge.engine.result(request.caller, request.job_id)
    tag = f'"{run.id}"'
    asked = request.header(b"range")
    if request.header(b"if-range") not in (None, tag):
        asked = None
    return Raw(json, tag, _span(asked, len(json)))


def _raw_url(edge: Edge, request: Request) -> str:
    return f"{edge.urls.run(request, request.job_id)}/result/raw"


def _span(asked: str | None, size: int) -> tuple[int, int] | None:
    """The first and one past the last byte of a single range; null for the whole, also when several are asked for."""
    match = _RANGE.fullmatch(asked or "")
    if match is None or match[0] == "bytes=-":
        return None
    first, last = match.groups()
    start, end = (int(first), int(last or size) + 1) if first else (max(0, size - int(last)), size)
    if first and last and int(last) < int(first):
        return None
    if start >= size:
        raise RangeNotSatisfiable(f"The result has {size} bytes; {match[0]} lies outside of them.", size=size)
    return start, min(end, size)


class Raw(msgspec.Struct, frozen=True):
    """A result's JSON by itself, whole or in part."""

    json: bytes
    tag: str
    span: tuple[int, int] | None

    async def send(self, receive: Receive, send: Send) -> None:
        start, end = self.span or (0, len(self.json))
        headers: list[Header] = [
            JSON,
            (b"accept-ranges", b"bytes"),
            (b"etag", self.tag.encode()),
            (b"content-length", b"%d" % (end - start)),
        ]
        if self.span is not None:
            headers.append((b"content-range", b"bytes %d-%d/%d" % (start, end - 1, len(self.json))))
        code = 206 if self.span is not None else 200
        await send({"type": "http.response.start", "status": code, "headers": headers})
        await push(send, self.json[start:end])
        await send({"type": "http.response.body", "body": b""})
