"""What the routes of one server stand on, handed in once when the API is made."""

from collections.abc import Awaitable, Callable

import msgspec

from outlast.api.body import Limits
from outlast.api.http import Answer, Request
from outlast.api.intake import Intake
from outlast.api.stream import Draining, OpenStreams
from outlast.api.urls import Urls
from outlast.config import Settings
from outlast.engine import Engine
from outlast.runners.registry import Registry
from outlast.timetable import Timetable


class Edge(msgspec.Struct, frozen=True, kw_only=True):
    """The engine and all that a route may ask besides it."""

    engine: Engine
    registry: Registry
    settings: Settings
    intake: Intake
    timetable: Timetable
    draining: Draining
    """No new runs, and not ready."""
    closing: Draining
    """Open streams and waiting polls end."""
    urls: Urls
    limits: Limits
    streams: OpenStreams


Handler = Callable[[Edge, Request], Awaitable[Answer]]
"""A route: parse, verb, render."""
