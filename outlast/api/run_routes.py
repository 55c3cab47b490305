"""The routes of a run's life: submit, look, list, cancel, delete."""

import re

from outlast.api import body, render
from outlast.api.edge import Edge
from outlast.api.http import JSON, Answer, Header, Reply, Request
from outlast.errors import Draining, InvalidQuery
from outlast.runs import Run, RunStatus
from outlast.store.protocol import Page, RunFilter

MAX_WAIT_S = 60.0
MAX_REACH = 10_000
"""How far pages go; beyond it the cursor does."""
_RETRY_AFTER: Header = (b"retry-after", b"%d" % render.RETRY_AFTER_S)
_REPLAYED: Header = (b"idempotency-replayed", b"true")
_SECONDS = re.compile(r"\d{1,9}(\.\d{1,9})?", re.ASCII)
_NUMBER = re.compile(r"\d{1,15}", re.ASCII)
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)


async def accept(edge: Edge, request: Request) -> Answer:
    """POST /api/v1/runs"""
    body.require_json(request)
    raw = await body.read(request, edge.limits)
    order = edge.intake.parse(raw, request.header(b"idempotency-key"))
    if order.idempotency is not None:
        known = await edge.engine.replay(request.caller, order.idempotency)
        if known is not None:
            return accepted(edge, request, known, replayed=True)
    if edge.draining.is_set():
        raise Draining("The server is shutting down and takes no new runs; send this again in a moment.")
    submitted = await edge.engine.submit(request.caller, await edge.intake.settle(order))
    return accepted(edge, request, submitted.run, replayed=submitted.replayed)


def accepted(edge: Edge, request: Request, run: Run, *, replayed: bool) -> Reply:
    """The 202 of a run that is kept."""
    url = edge.urls.run(request, run.id)
    headers = (JSON, (b"location", url.encode()), _RETRY_AFTER)
    return Reply(202, render.accepted(run, url), (*headers, _REPLAYED) if replayed else headers)


async def status(edge: Edge, request: Request) -> Answer:
    """GET /api/v1/runs/{job_id}"""
    wait_s, preferred = _wait(request)
    if wait_s > 0:
        run = await edge.engine.wait(request.caller, request.job_id, wait_s, edge.closing.is_set)
    else:
        run = await edge.engine.get(request.caller, request.job_id)
    headers: tuple[Header, ...] = (JSON,) if run.is_final else (JSON, _RETRY_AFTER)
    if preferred:
        headers += ((b"preference-applied", b"wait"),)
    return Reply(200, render.status(run), headers)


def _wait(request: Request) -> tuple[float, bool]:
    """How long the answer may wait for the run's end, and whether a Prefer header said so."""
    asked = request.query.get("wait") if request.scope["query_string"] else None
    if asked is not None:
        return _seconds(asked), False
    for preference in (request.header(b"prefer") or "").split(","):
        name, _, value = preference.strip().partition("=")
        if name.strip().lower() == "wait":
            return _seconds(value.strip(' "')), True
    return 0.0, False


def _seconds(text: str) -> float:
    if not _SECONDS.fullmatch(text):
        raise InvalidQuery(f"wait is a number of seconds, at most {MAX_WAIT_S:g} of which are waited.")
    return min(float(text), MAX_WAIT_S)


async def list_runs(edge: Edge, request: Request) -> Answer:
    """GET /api/v1/runs"""
    query = request.query
    number, size = page_of(query)
    which, cursor = _filter(query), query.get("cursor")
    page = _page(number, size, cursor)
    found = await edge.engine.list_runs(request.caller, which, page)
    if cursor is None:
        more = len(found.runs) > size or found.total > number * size
    else:
        # A run that changes its status under our eyes leaves its page one short, which is not the end of the list.
        more = len(found.runs) > size or (which.status is not None and found.total > size)
    return Reply(200, render.listing(found, number, size, more=more))


def page_of(query: dict[str, str]) -> tuple[int, int]:
    """Which page was asked for, and how large pages are."""
    size = _number(query, "page_size", 20)
    if size > 100:
        raise InvalidQuery("page_size is a number from 1 to 100.")
    return _number(query, "page", 1), size


def _page(number: int, size: int, cursor: str | None) -> Page:
    if cursor is not None:
        if not _ID.fullmatch(cursor):
            raise InvalidQuery("cursor is a next_cursor that an earlier page gave; this is none.")
        if number != 1:
            raise InvalidQuery("page and cursor exclude each other; go on with the cursor alone.")
        return Page(size + 1, 0, cursor)
    if number * size > MAX_REACH:
        raise InvalidQuery(
            f"Pages reach to the {MAX_REACH}th run; to go further, follow next_cursor: ?cursor=… instead of page."
        )
    return Page(size + 1, (number - 1) * size)


def _number(query: dict[str, str], name: str, default: int) -> int:
    text = query.get(name)
    if text is None:
        return default
    if not _NUMBER.fullmatch(text) or int(text) < 1:
        raise InvalidQuery(f"{name} is a number from 1 on.")
    return int(text)


def _filter(query: dict[str, str]) -> RunFilter:
    status = query.get("status")
    if status is not None and status not in _STATUSES:
        raise InvalidQuery(f"status is one of {', '.join(_STATUSES)}.")
    return RunFilter(
        RunStatus(status) if status is not None else None,
        _name(query, "session_id"),
        _name(query, "agent"),
        _name(query, "framework"),
        _name(query, "schedule_id"),
    )


_STATUSES = tuple(status.value for status in RunStatus)


def _name(query: dict[str, str], name: str) -> str | None:
    text = query.get(name)
    if text is not None and (not 1 <= len(text) <= 255 or "\0" in text):
        raise InvalidQuery(f"{name} is a name of 1 to 255 characters.")
    return text


async def cancel(edge: Edge, request: Request) -> Answer:
    """POST /api/v1/runs/{job_id}/cancel"""
    run = await edge.engine.cancel(request.caller, request.job_id)
    return Reply(200, render.cancelled(run))


async def delete(edge: Edge, request: Request) -> Answer:
    """DELETE /api/v1/runs/{job_id}"""
    await edge.engine.delete(request.caller, request.job_id)
    return Reply(204, headers=())
