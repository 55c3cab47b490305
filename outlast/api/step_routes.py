"""A run's steps, and the answer of a person to one of which nobody knows whether it was done."""

import msgspec

from outlast.api import body, reading, render
from outlast.api.edge import Edge
from outlast.api.http import Answer, Reply, Request
from outlast.api.run_routes import MAX_REACH, page_of
from outlast.clock import iso
from outlast.errors import InvalidBody, InvalidQuery
from outlast.runs import Json
from outlast.steps import Answer as Decision
from outlast.steps import Effect, Step, StepState
from outlast.store.protocol import Page

LISTED_RESULT = 4096
"""Bytes up to which a result stands in the list; any result is in the answer about its step."""


class AnswerBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is to become of the step: a result goes with `skip`, an error with `fail`."""

    action: Decision
    result: msgspec.Raw = msgspec.Raw()
    error: str | None = None


class StepView(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """A step as a client sees it."""

    step: str
    name: str
    effect: Effect
    state: StepState
    idempotency_key: str
    started_at: str
    ended_at: str | None = None
    ms: int | None = None
    answer: Decision | None = None
    input: msgspec.Raw | None = None
    result: msgspec.Raw | None = None
    result_size: int | None = None
    error: str | None = None


class StepListView(msgspec.Struct, frozen=True, gc=False):
    """A page of a run's steps, in the order in which they were begun."""

    steps: list[StepView]
    total: int
    page: int
    page_size: int


async def list_steps(edge: Edge, request: Request) -> Answer:
    """GET /api/v1/runs/{job_id}/steps"""
    number, size = page_of(request.query)
    if number * size > MAX_REACH:
        raise InvalidQuery(f"Pages reach to the {MAX_REACH}th step.")
    page = Page(size, (number - 1) * size)
    found = await edge.engine.steps.page(request.caller, request.job_id, page)
    views = [_view(step, _listed(step)) for step in found.steps]
    return Reply(200, render.encode(StepListView(views, found.total, number, size)))


async def status(edge: Edge, request: Request) -> Answer:
    """GET /api/v1/runs/{job_id}/steps/{step}"""
    return Reply(
        200, render.encode(_view(*await edge.engine.steps.find(request.caller, request.job_id, request.step)))
    )


async def answer(edge: Edge, request: Request) -> Answer:
    """POST /api/v1/runs/{job_id}/steps/{step}"""
    body.require_json(request)
    said = reading.read(await body.read(request, edge.limits), AnswerBody)
    result = bytes(said.result) or None
    _check(said.action, result, said.error)
    run = await edge.engine.steps.answer(
        request.caller, request.job_id, request.step, said.action, result, said.error
    )
    return Reply(200, render.status(run))


def _check(action: Decision, result: Json | None, error: str | None) -> None:
    if (action is Decision.SKIP) != (result is not None):
        raise InvalidBody("With skip comes the result to go on with, which may be null; with nothing else.")
    if (action is Decision.FAIL) != (error is not None):
        raise InvalidBody("With fail comes the error to go on with; with nothing else.")
    if result is not None:
        reading.loosely(b'{"result":%s}' % result)  # a text in it may be none


def _listed(step: Step) -> Json | None:
    result = step.result
    return None if result is None or result.size > LISTED_RESULT else result.inline


def _view(step: Step, result: Json | None) -> StepView:
    return StepView(
        step=step.key,
        name=step.name,
        effect=step.effect,
        state=step.state,
        idempotency_key=step.idempotency_key,
        started_at=iso(step.started_at),
        ended_at=None if step.ended_at is None else iso(step.ended_at),
        ms=None if step.ended_at is None else step.ended_at - step.started_at,
        answer=step.answer,
        input=None if step.input is None else msgspec.Raw(step.input),
        result=None if result is None else msgspec.Raw(result),
        result_size=None if step.result is None else step.result.size,
        error=step.error,
    )
