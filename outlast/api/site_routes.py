"""The routes about the server itself: is it there, is it ready, what does it hold, how is it spoken to."""

import asyncio

from outlast import __version__
from outlast.api import contract, docs_page
from outlast.api.edge import Edge
from outlast.api.http import Answer, Header, Reply, Request
from outlast.api.render import encode
from outlast.api.schemas import Health, Stats
from outlast.errors import Draining, StoreUnavailable

READY_DEADLINE_S = 2.0
_HTML: tuple[Header, ...] = (
    (b"content-type", b"text/html; charset=utf-8"),
    (b"content-security-policy", b"default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"),
    (b"x-content-type-options", b"nosniff"),
)
_HEALTHY = encode(Health("healthy"))
_READY = encode(Health("ready"))


async def health(edge: Edge, request: Request) -> Answer:
    """GET /health: the process answers; the store is never asked."""
    return Reply(200, _HEALTHY)


async def ready(edge: Edge, request: Request) -> Answer:
    """GET /ready: new runs can be accepted; not while commits fail, as on a full disk."""
    if edge.draining.is_set():
        raise Draining("The server is shutting down and takes no new runs.")
    try:
        async with asyncio.timeout(READY_DEADLINE_S):
            await edge.engine.check_ready()
    except TimeoutError as error:
        raise StoreUnavailable(f"The store did not answer within {READY_DEADLINE_S:g} s.") from error
    return Reply(200, _READY)


async def stats(edge: Edge, request: Request) -> Answer:
    """GET /stats"""
    counts = await edge.engine.counts(request.caller)
    return Reply(
        200,
        encode(
            Stats(
                total_jobs=sum(counts.values()),
                by_status={status.value: count for status, count in counts.items()},
                open_streams=edge.streams.count,
                runners=sorted(edge.registry.runners),
                version=__version__,
            )
        ),
    )


async def openapi(edge: Edge, request: Request) -> Answer:
    """GET /openapi.json"""
    return Reply(200, contract.as_json())


async def docs(edge: Edge, request: Request) -> Answer:
    """GET /docs"""
    return Reply(200, docs_page.html(), _HTML)


async def front(edge: Edge, request: Request) -> Answer:
    """GET /"""
    return Reply(200, _FRONT, _HTML)


_FRONT = b"""<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Outlast</title>
<h1>Outlast</h1>
<p>Agent runs that outlast crashes. <a href="docs">How to speak to this server</a>,
<a href="openapi.json">openapi.json</a>, <a href="health">health</a>, <a href="stats">stats</a>.</p>
"""
