"""Every path of the API and who answers it, and the way from a request's path to its route.

Finding a route is two dictionary look-ups: all paths are either fixed or `/api/v1/runs/{job_id}` with a fixed tail.
"""

import re

import msgspec

from outlast.api import batch_routes, outcome_routes, run_routes, site_routes
from outlast.api.edge import Handler
from outlast.api.http import Request
from outlast.errors import NotFound, RunNotFound, quoted

RUNS = "/api/v1/runs"
_RUN = f"{RUNS}/"
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
    Route("/health", {"GET": site_routes.health}),
    Route("/ready", {"GET": site_routes.ready}),
    Route("/stats", {"GET": site_routes.stats}),
    Route("/openapi.json", {"GET": site_routes.openapi}),
    Route("/docs", {"GET": site_routes.docs}),
    Route("/", {"GET": site_routes.front}),
)

_FIXED = {route.path: route for route in ROUTES if "{" not in route.path}
_BY_TAIL = {route.path.partition("{job_id}")[2]: route for route in ROUTES if "{" in route.path}


def find(path: str, request: Request) -> Route:
    """The route of a path; it also tells the request which run it is about. A slash at the end does no harm."""
    route = _FIXED.get(path) or _FIXED.get(path.rstrip("/"))
    if route is not None:
        return route
    if not path.startswith(_RUN):
        raise _nothing_at(path)
    job_id, slash, tail = path[len(_RUN) :].rstrip("/").partition("/")
    route = _BY_TAIL.get(slash + tail)
    if route is None:
        raise _nothing_at(path)
    if not _ID.fullmatch(job_id):
        raise RunNotFound(f"There is no run {quoted(job_id)}; that cannot be the id of one.")
    request.job_id = job_id
    return route


def _nothing_at(path: str) -> NotFound:
    return NotFound(f"There is nothing at {quoted(path)}; /docs lists what there is.")
