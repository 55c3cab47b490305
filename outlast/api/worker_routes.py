"""The route of workers: who lives, and what each runs."""

from outlast.api import render
from outlast.api.edge import Edge
from outlast.api.http import Answer, Reply, Request


async def list_workers(edge: Edge, request: Request) -> Answer:
    """GET /api/v1/workers: all of them, but no run of another tenant."""
    return Reply(200, render.workers(await edge.engine.workers(request.caller)))
