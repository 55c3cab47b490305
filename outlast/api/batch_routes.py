"""Many submits in one request, each with an outcome of its own."""

import asyncio
from collections.abc import Sequence

import msgspec

from outlast.api import body, problems, reading, render
from outlast.api.edge import Edge
from outlast.api.http import Answer, Reply, Request
from outlast.api.schemas import BatchBody
from outlast.births import NewRun
from outlast.errors import Draining, OutlastError
from outlast.store.protocol import Submitted
from outlast.telemetry import get

AT_ONCE = 50
"""Runs that are read between two looks at other requests."""


log = get("api")
Outcome = Submitted | OutlastError


async def accept(edge: Edge, request: Request) -> Answer:
    """POST /api/v1/runs/batch"""
    body.require_json(request)
    batch = reading.read(await body.read(request, edge.limits), BatchBody)
    if edge.draining.is_set():
        raise Draining("The server is shutting down and takes no new runs; send this again in a moment.")
    key = request.header(b"idempotency-key")
    prepared = [
        await _prepare(edge, request, bytes(raw), n, None if key is None else f"{key}:{n}")
        for n, raw in enumerate(batch.runs)
    ]
    outcomes = await _submit(edge, request, prepared)
    all_well = all(isinstance(outcome, Submitted) for outcome in outcomes)
    shown = [_shown(edge, request, outcome) for outcome in outcomes]
    return Reply(200 if all_well else 207, render.encode({"results": shown}))


async def _prepare(edge: Edge, request: Request, raw: bytes, n: int, key: str | None) -> NewRun | Outcome:
    """What this member comes to, but for the last step; one that cannot run here harms no other."""
    if n % AT_ONCE == 0:
        await asyncio.sleep(0)
    try:
        order = edge.intake.parse(raw, key)
        if order.idempotency is not None:
            known = await edge.engine.replay(request.caller, order.idempotency)
            if known is not None:
                return Submitted(known, replayed=True)
        return await edge.intake.settle(order)
    except OutlastError as refusal:
        return refusal


async def _submit(edge: Edge, request: Request, prepared: Sequence[NewRun | Outcome]) -> list[Outcome]:
    """Handed in together and in order, so that they share commits and come in this order in the queue."""
    submits: list[asyncio.Task[Outcome]] = []
    for n, member in enumerate(prepared):
        submits.append(asyncio.create_task(_outcome(edge, request, member)))
        if n % AT_ONCE == 0:
            await asyncio.sleep(0)
    return await asyncio.gather(*submits)


async def _outcome(edge: Edge, request: Request, member: NewRun | Outcome) -> Outcome:
    if not isinstance(member, NewRun):
        return member
    try:
        return await edge.engine.submit(request.caller, member)
    except OutlastError as refusal:
        return refusal
    except Exception as error:  # the others are accepted, and their answers are owed
        log.error("a run of a batch broke", exc=error)
        return OutlastError("Something broke inside the server; its log says what.")


def _shown(edge: Edge, request: Request, outcome: Outcome) -> msgspec.Raw | problems.Problem:
    if isinstance(outcome, OutlastError):
        return problems.problem(outcome)
    run = outcome.run
    return msgspec.Raw(render.accepted(run, edge.urls.run(request, run.id), replayed=outcome.replayed))
