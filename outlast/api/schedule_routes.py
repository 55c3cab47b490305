"""The routes of schedules: make, look, list, change, pause, trigger, delete."""

from functools import partial

import msgspec

from outlast.api import body, reading, render
from outlast.api.edge import Edge
from outlast.api.http import JSON, Answer, Reply, Request
from outlast.api.run_routes import accepted, page_of
from outlast.api.schemas import ScheduleBody, SchedulePatch, SubmitBody
from outlast.errors import Draining, InvalidSchedule
from outlast.schedules import MAX_RUN, Missed, Schedule
from outlast.timetable import Wanted

OF_ONE_RUN = ("idempotency_key", "idempotency_scope", "run_at", "delay")
"""Fields of a submit that say something about one run, and nothing about one that comes again and again."""


async def create(edge: Edge, request: Request) -> Answer:
    """POST /api/v1/schedules"""
    body.require_json(request)
    asked = reading.read(await body.read(request, edge.limits), ScheduleBody)
    wanted = Wanted(
        name=_name(asked.name),
        cron=asked.cron,
        timezone=asked.timezone or "UTC",
        missed=asked.missed or Missed.SKIP,
        run=await _run(edge, asked.run),
        paused=bool(asked.paused),
    )
    schedule = await edge.timetable.create(request.caller, wanted)
    url = f"{edge.urls.base(request)}/api/v1/schedules/{schedule.id}"
    return Reply(201, render.schedule(schedule), (JSON, (b"location", url.encode())))


def _name(text: str) -> str:
    if "\0" in text:
        raise InvalidSchedule("name has a NUL character in it; leave it out.")
    return text


async def _run(edge: Edge, raw: msgspec.Raw) -> bytes:
    """The body of the runs, once it is known that it could be submitted now."""
    run = bytes(raw)
    if len(run) > MAX_RUN:
        raise InvalidSchedule(f"run is larger than {MAX_RUN} bytes; name an agent_file or an agent instead.")
    order = edge.intake.parse(run)
    _refuse_of_one_run(order.body)
    await edge.intake.settle(order)
    return run


def _refuse_of_one_run(run: SubmitBody) -> None:
    said = next((name for name in OF_ONE_RUN if getattr(run, name) is not None), None)
    if said is not None:
        raise InvalidSchedule(f"run has {said}, which is for one run; each fire of a schedule makes another.")


async def list_schedules(edge: Edge, request: Request) -> Answer:
    """GET /api/v1/schedules"""
    number, size = page_of(request.query)
    found = await edge.engine.list_schedules(request.caller, size, (number - 1) * size)
    return Reply(200, render.schedules(found, number, size))


async def status(edge: Edge, request: Request) -> Answer:
    """GET /api/v1/schedules/{schedule_id}"""
    return Reply(200, render.schedule(await edge.engine.schedule(request.caller, request.schedule_id)))


async def change(edge: Edge, request: Request) -> Answer:
    """PATCH /api/v1/schedules/{schedule_id}"""
    body.require_json(request)
    asked = reading.read(await body.read(request, edge.limits), SchedulePatch)
    given = {
        name: value
        for name in asked.__struct_fields__
        if name != "run" and (value := getattr(asked, name)) is not None
    }
    if "name" in given:
        _name(given["name"])
    if bytes(asked.run) not in (b"", b"null"):
        given["run"] = await _run(edge, asked.run)
    return await _edited(edge, request, **given)


async def pause(edge: Edge, request: Request) -> Answer:
    """POST /api/v1/schedules/{schedule_id}/pause"""
    return await _edited(edge, request, paused=True)


async def resume(edge: Edge, request: Request) -> Answer:
    """POST /api/v1/schedules/{schedule_id}/resume"""
    return await _edited(edge, request, paused=False)


async def _edited(edge: Edge, request: Request, **given: object) -> Reply:
    def edit(schedule: Schedule) -> Schedule:
        return msgspec.structs.replace(schedule, **given)

    return Reply(200, render.schedule(await edge.timetable.change(request.caller, request.schedule_id, edit)))


async def trigger(edge: Edge, request: Request) -> Answer:
    """POST /api/v1/schedules/{schedule_id}/trigger"""
    key = request.header(b"idempotency-key")
    schedule = await edge.engine.schedule(request.caller, request.schedule_id)
    idempotency = edge.intake.parse(schedule.run, key).idempotency
    if idempotency is not None:
        known = await edge.engine.replay(request.caller, idempotency)
        if known is not None:
            return accepted(edge, request, known, replayed=True)
    if edge.draining.is_set():
        raise Draining("The server is shutting down and takes no new runs; send this again in a moment.")
    prepare = partial(edge.intake.of_schedule, key=key)
    submitted = await edge.timetable.trigger(request.caller, request.schedule_id, prepare)
    return accepted(edge, request, submitted.run, replayed=submitted.replayed)


async def delete(edge: Edge, request: Request) -> Answer:
    """DELETE /api/v1/schedules/{schedule_id}"""
    await edge.timetable.delete(request.caller, request.schedule_id)
    return Reply(204, headers=())
