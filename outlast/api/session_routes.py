"""The routes of sessions: list, look, limit."""

from outlast.api import body, reading, render
from outlast.api.edge import Edge
from outlast.api.http import Answer, Reply, Request
from outlast.api.run_routes import MAX_REACH, page_of
from outlast.api.schemas import SessionBody
from outlast.errors import InvalidQuery, SessionNotFound
from outlast.runs import Caller
from outlast.store.protocol import Page


async def list_sessions(edge: Edge, request: Request) -> Answer:
    """GET /api/v1/sessions"""
    number, size = page_of(request.query)
    page = await _page(edge, request.caller, number, size, request.query.get("cursor"))
    found = await edge.engine.sessions.page(request.caller, page)
    return Reply(200, render.sessions(found, number, size))


async def _page(edge: Edge, caller: Caller, number: int, size: int, cursor: str | None) -> Page:
    if cursor is not None:
        if number != 1:
            raise InvalidQuery("page and cursor exclude each other; go on with the cursor alone.")
        try:
            await edge.engine.sessions.find(caller, cursor)
        except SessionNotFound as error:
            raise InvalidQuery("cursor is a next_cursor that an earlier page gave; this is none.") from error
        return Page(size + 1, 0, cursor)
    if number * size > MAX_REACH:
        raise InvalidQuery(
            f"Pages reach to the {MAX_REACH}th session; to go further, follow next_cursor: ?cursor=… instead of page."
        )
    return Page(size + 1, (number - 1) * size)


async def status(edge: Edge, request: Request) -> Answer:
    """GET /api/v1/sessions/{session_id}"""
    return Reply(200, render.session(await edge.engine.sessions.find(request.caller, request.session_id)))


async def limit(edge: Edge, request: Request) -> Answer:
    """PUT /api/v1/sessions/{session_id}"""
    body.require_json(request)
    asked = reading.read(await body.read(request, edge.limits), SessionBody)
    session = await edge.engine.sessions.limit(request.caller, request.session_id, asked.max_running)
    return Reply(200, render.session(session))
