"""The API as one ASGI application: let in, find the route, answer, and turn every error into a problem."""

from collections.abc import Callable

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from outlast.api import problems
from outlast.api.auth import Door
from outlast.api.body import Limits
from outlast.api.edge import Edge
from outlast.api.http import Answer, Gone, Reply, Request
from outlast.api.intake import Intake
from outlast.api.routes import Route, find
from outlast.api.stream import Draining, OpenStreams
from outlast.api.urls import Address, Urls
from outlast.config import Settings
from outlast.engine import Engine
from outlast.errors import MethodNotAllowed, OutlastError
from outlast.runners.registry import Registry
from outlast.telemetry import get
from outlast.timetable import Timetable

log = get("api")
EXPOSED_HEADERS = (
    "Location",
    "Retry-After",
    "Idempotency-Replayed",
    "Preference-Applied",
    "Content-Range",
    "ETag",
)


def create_api(
    engine: Engine,
    registry: Registry,
    settings: Settings,
    has_model: Callable[[], bool],
    check_webhook: Callable[[str], None],
    draining: Draining,
    bound: Callable[[], Address | None] = lambda: None,
    limits: Limits | None = None,
    closing: Draining | None = None,
) -> ASGIApp:
    """The API over an engine. It answers `http` scopes only: lifespan belongs to whoever composes the server.

    `draining` and `closing` are asked, never set: while draining, no new runs are accepted; once closing (draining, if
    not given), open streams and waiting polls end within a moment, if whoever sets it calls `wakeups.wake_all()`.
    `bound` says where the server listens, once it does.
    """
    edge = Edge(
        engine=engine,
        registry=registry,
        settings=settings,
        intake=Intake(registry=registry, settings=settings, has_model=has_model, check_webhook=check_webhook),
        timetable=Timetable(engine),
        draining=draining,
        closing=closing or draining,
        urls=Urls(settings.public_url, bound),
        limits=limits or Limits(max_bytes=settings.max_body_bytes),
        streams=OpenStreams(),
    )
    api = Api(edge, Door(settings.api_keys, settings.public_url))
    if not settings.cors_origins:
        return api
    return CORSMiddleware(
        api,
        allow_origins=settings.cors_origins,
        allow_methods=("GET", "POST", "PUT", "PATCH", "DELETE"),
        allow_headers=("*",),
        expose_headers=EXPOSED_HEADERS,
    )


class Api:
    """Dispatches requests. Plain ASGI: a middleware more would be paid for by every poll."""

    def __init__(self, edge: Edge, door: Door) -> None:
        self._edge = edge
        self._door = door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000})
            return
        assert scope["type"] == "http", scope["type"]
        request = Request(scope, receive)
        try:
            answer = await self._answer(request)
            await answer.send(receive, send)
        except Gone:
            pass

    async def _answer(self, request: Request) -> Answer:
        try:
            path = _path(request.scope)
            request.caller = self._door.admit(request.scope, path)
            route = find(path, request)
            handler = route.handler(request.scope["method"])
            if handler is None:
                return _without_handler(request, route)
            return await handler(self._edge, request)
        except OutlastError as error:
            answer = problems.reply(error)
            if answer.status >= 500:
                log.warning("request failed", code=error.code, detail=error.detail)
            return answer
        except Gone:
            raise
        except Exception as error:
            log.error("request broke", exc=error, method=request.scope["method"])
            return problems.reply(OutlastError("Something broke inside the server; its log says what."))


def _path(scope: Scope) -> str:
    """The path below the place where the API is mounted."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    if root and (path == root or path.startswith(f"{root}/")):
        path = path[len(root) :]
    return path or "/"


def _without_handler(request: Request, route: Route) -> Reply:
    allow = (b"allow", route.allow.encode())
    method: str = request.scope["method"]
    if method == "OPTIONS":
        return Reply(204, headers=(allow,))
    error = MethodNotAllowed(f"{method} means nothing at {route.path}; it answers {route.allow}.")
    return problems.reply(error, allow)
