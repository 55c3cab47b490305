"""Every path of the API and who answers it, and the way from a request's path to its route.

Finding a route is two dictionary look-ups: a path is fixed, or has the id of a run or a schedule in its middle.
"""

import re
from collections.abc import Mapping

import msgspec

from outlast.api import (
    batch_routes,
    budget_routes,
    journal_routes,
    outcome_routes,
    run_routes,
    schedule_routes,
    session_routes,
    site_routes,
    step_routes,
    worker_routes,
)
from outlast.api.edge import Handler
from outlast.api.http import Request
from outlast.errors import NotFound, RunNotFound, ScheduleNotFound, SessionNotFound, quoted

RUNS = "/api/v1/runs"
SCHEDULES = "/api/v1/schedules"
SESSIONS = "/api/v1/sessions"
_SESSION_ID_MAX = 255
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)


class Route(msgspec.Struct, frozen=True):
    """One path of the contract and its methods. GET answers HEAD too."""

    path: str
    methods: dict[str, Handler]

    @property
    def allow(self) -> str:
        """The methods as the Allow header lists them."""
        head = {"HEAD"} if "GET" in self.methods else set()
        return ", ".join(sorted({*self.methods, *head, "OPTIONS"}))

    def handler(self, method: str) -> Handler | None:
        return self.methods.get("GET" if method == "HEAD" else method)


ROUTES = (
    Route(RUNS, {"POST": run_routes.accept, "GET": run_routes.list_runs}),
    Route(f"{RUNS}/batch", {"POST": batch_routes.accept}),
    Route(f"{RUNS}/{{job_id}}", {"GET": run_routes.status, "DELETE": run_routes.delete}),
    Route(f"{RUNS}/{{job_id}}/result", {"GET": outcome_routes.result}),
    Route(f"{RUNS}/{{job_id}}/result/raw", {"GET": outcome_routes.raw_result}),
    Route(f"{RUNS}/{{job_id}}/stream", {"GET": outcome_routes.stream}),
    Route(f"{RUNS}/{{job_id}}/cancel", {"POST": run_routes.cancel}),
    Route(f"{RUNS}/{{job_id}}/budget", {"POST": budget_routes.change}),
    Route(f"{RUNS}/{{job_id}}/retry", {"POST": journal_routes.again}),
    Route(f"{RUNS}/{{job_id}}/calls", {"GET": journal_routes.calls}),
    Route(f"{RUNS}/{{job_id}}/steps", {"GET": step_routes.list_steps}),
    Route(f"{RUNS}/{{job_id}}/steps/{{step}}", {"GET": step_routes.status, "POST": step_routes.answer}),
    Route(SCHEDULES, {"POST": schedule_routes.create, "GET": schedule_routes.list_schedules}),
    Route(
        f"{SCHEDULES}/{{schedule_id}}",
        {"GET": schedule_routes.status, "PATCH": schedule_routes.change, "DELETE": schedule_routes.delete},
    ),
    Route(f"{SCHEDULES}/{{schedule_id}}/trigger", {"POST": schedule_routes.trigger}),
    Route(f"{SCHEDULES}/{{schedule_id}}/pause", {"POST": schedule_routes.pause}),
    Route(f"{SCHEDULES}/{{schedule_id}}/resume", {"POST": schedule_routes.resume}),
    Route(SESSIONS, {"GET": session_routes.list_sessions}),
    Route(f"{SESSIONS}/{{session_id}}", {"GET": session_routes.status, "PUT": session_routes.limit}),
    Route("/api/v1/workers", {"GET": worker_routes.list_workers}),
    Route("/health", {"GET": site_routes.health}),
    Route("/ready", {"GET": site_routes.ready}),
    Route("/stats", {"GET": site_routes.stats}),
    Route("/openapi.json", {"GET": site_routes.openapi}),
    Route("/docs", {"GET": site_routes.docs}),
    Route("/", {"GET": site_routes.front}),
)

_FIXED = {route.path: route for route in ROUTES if "{" not in route.path}
_OF_RUNS = {route.path.partition("{job_id}")[2]: route for route in ROUTES if "{job_id}" in route.path}
_OF_SCHEDULES = {
    route.path.partition("{schedule_id}")[2]: route for route in ROUTES if "{schedule_id}" in route.path
}


_STEPS = "/steps/"
_OF_STEP = _OF_RUNS.pop(f"{_STEPS}{{step}}")
_OF_SESSION = next(route for route in ROUTES if "{session_id}" in route.path)


def find(path: str, request: Request) -> Route:
    """The route of a path; it also tells the request which run, schedule or session it is about.

    A slash at the end does no harm.
    """
    route = _FIXED.get(path) or _FIXED.get(path.rstrip("/"))
    if route is not None:
        return route
    if path.startswith(f"{RUNS}/"):
        route, request.job_id = _about_step(path, request) or _about(path, RUNS, _OF_RUNS)
        if not _ID.fullmatch(request.job_id):
            raise RunNotFound(f"There is no run {quoted(request.job_id)}; that cannot be the id of one.")
        return route
    if path.startswith(f"{SCHEDULES}/"):
        route, request.schedule_id = _about(path, SCHEDULES, _OF_SCHEDULES)
        if not _ID.fullmatch(request.schedule_id):
            raise ScheduleNotFound(
                f"There is no schedule {quoted(request.schedule_id)}; that cannot be the id of one."
            )
        return route
    if path.startswith(f"{SESSIONS}/"):
        request.session_id = _session_id(path[len(SESSIONS) + 1 :])
        return _OF_SESSION
    raise _nothing_at(path)


def _session_id(name: str) -> str:
    """What the client calls its session, slashes and all."""
    if not 1 <= len(name) <= _SESSION_ID_MAX or "\0" in name:
        raise SessionNotFound(f"There is no session {quoted(name)}; that cannot be the id of one.")
    return name


def _about_step(path: str, request: Request) -> tuple[Route, str] | None:
    """A step goes by what its agent calls it, slashes and all."""
    job_id, steps, request.step = path[len(RUNS) + 1 :].partition(_STEPS)
    return (_OF_STEP, job_id) if steps and request.step and "/" not in job_id else None


def _about(path: str, things: str, by_tail: Mapping[str, Route]) -> tuple[Route, str]:
    """The route of a path below `things`, and the id in it."""
    name, slash, tail = path[len(things) + 1 :].rstrip("/").partition("/")
    route = by_tail.get(slash + tail)
    if route is None:
        raise _nothing_at(path)
    return route, name


def _nothing_at(path: str) -> NotFound:
    return NotFound(f"There is nothing at {quoted(path)}; /docs lists what there is.")
