"""The requests about schedules, and how their answers are read."""

import uuid
from collections.abc import Mapping
from typing import Literal, TypedDict
from urllib.parse import quote

import msgspec

from outlast.client.calls import Call, decodes, raise_for_error, reads
from outlast.client.models import Accepted, Schedule, SchedulePage, read_schedules

_PATH = "/api/v1/schedules"
_JSON = {"Content-Type": "application/json"}


class Times(TypedDict, total=False):
    """What may be said of a new schedule; what is left out has a default."""

    timezone: str
    """Whose clock `cron` means. [UTC]"""
    missed: Literal["skip", "run_once"]
    """What becomes of fires for which no server was there. [skip]"""
    paused: bool


class Changes(Times, total=False):
    """What may be changed of a schedule; what is left out stays."""

    name: str
    cron: str
    """Minute, hour, day of month, month, day of week."""
    run: Mapping[str, object]
    """The body of a submit: `{"prompt": …}` and whatever else it shall say."""


def create(changes: Changes) -> Call[Schedule]:
    return Call("POST", _PATH, reads(Schedule), headers=_JSON, content=msgspec.json.encode(changes))


def listed(page: int, page_size: int) -> Call[SchedulePage]:
    return Call("GET", _PATH, decodes(read_schedules), {"page": page, "page_size": page_size})


def get(schedule_id: str) -> Call[Schedule]:
    return Call("GET", _path(schedule_id), reads(Schedule))


def change(schedule_id: str, changes: Changes) -> Call[Schedule]:
    content = msgspec.json.encode(changes)
    return Call("PATCH", _path(schedule_id), reads(Schedule), headers=_JSON, content=content)


def pause(schedule_id: str) -> Call[Schedule]:
    return Call("POST", _path(schedule_id, "/pause"), reads(Schedule))


def resume(schedule_id: str) -> Call[Schedule]:
    return Call("POST", _path(schedule_id, "/resume"), reads(Schedule))


def trigger(schedule_id: str) -> Call[Accepted]:
    """Under a key of its own, so that a retry makes no second run."""
    headers = {"Idempotency-Key": f"client-{uuid.uuid4().hex}"}
    return Call("POST", _path(schedule_id, "/trigger"), reads(Accepted), headers=headers)


def delete(schedule_id: str) -> Call[None]:
    return Call("DELETE", _path(schedule_id), raise_for_error)


def _path(schedule_id: str, rest: str = "") -> str:
    return f"{_PATH}/{quote(schedule_id, safe='')}{rest}"
