"""The run's own address, `OUTLAST_RUN_URL`: what an agent in any language says of its run, with its token.

It serves steps. Errors are `application/problem+json`. Nothing is written for an attempt that no longer holds its run.
"""

import asyncio
import hashlib
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Annotated, NoReturn, TypeVar
from weakref import WeakKeyDictionary

import msgspec
from starlette.types import ASGIApp, Receive, Scope, Send

from outlast import telemetry
from outlast.engine import Engine
from outlast.errors import BodyTooLarge, Conflict, Fenced, OutlastError, RunNotFound, StoreUnavailable
from outlast.gateway import arrival
from outlast.gateway.answer import Header
from outlast.gateway.grants import Grants, Holder
from outlast.gateway.room import Full, Room
from outlast.steps import Done, Effect, Failed, Go, Unsure
from outlast.tool_journal import RESULT_MAX

PREFIX = "/run"
MAX_BODY = RESULT_MAX + 1024
MAX_BUFFERED = 128 * 1024 * 1024
"""Bytes of all bodies together that are held at one time."""
WAIT_S = 60.0
"""How long a body waits for memory that others hold."""
PAUSE_S = 0.05, 1.0
"""Between two tries while the store is away: the first, and the longest."""
NAME_IN_KEY = 200
"""Characters of a step's name that are in a key made of it."""

T = TypeVar("T")
Text = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
_ABSENT = msgspec.Raw()
_log = telemetry.get("gateway")


class BeginBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An agent comes to a step."""

    name: Text | None = None
    effect: Effect = Effect.READ
    input: msgspec.Raw = _ABSENT


class EndBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a step ended: one of the two."""

    result: msgspec.Raw = _ABSENT
    error: str | None = None


class _Attempt:
    """What is known of an attempt's steps while it lives."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        """How often each name with its input has come."""
        self.doing: set[str] = set()
        """Those that may be done once only and are being done."""


class RunAddress:
    """The ASGI application of what is below `PREFIX`; anything else goes to another."""

    def __init__(self, engine: Engine, grants: Grants, otherwise: ASGIApp) -> None:
        self._otherwise = otherwise
        self._steps = engine.steps
        self._grants = grants
        self._memory = Room(MAX_BUFFERED)
        self._attempts: WeakKeyDictionary[Holder, _Attempt] = WeakKeyDictionary()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not scope["path"].startswith(f"{PREFIX}/"):
            return await self._otherwise(scope, receive, send)
        try:
            status, answer = await self._answer(scope, receive)
        except arrival.AgentLeft:
            return
        except _Problem as problem:
            status, answer = problem.status, problem.body
        except OutlastError as error:
            status, answer = _problem_of(error)
        except Exception as error:
            _log.error("the run's address failed", exc=error)
            status, answer = (
                500,
                _problem(500, "internal_error", "Outlast failed; the server's log says why."),
            )
        kind = b"application/json" if status < 400 else b"application/problem+json"
        headers = [(b"content-type", kind), (b"content-length", b"%d" % len(answer))]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    async def _answer(self, scope: Scope, receive: Receive) -> tuple[int, bytes]:
        holder = self._holder(scope["headers"])
        try:
            size = arrival.declared(scope["headers"], MAX_BODY)
            async with self._memory.share(size, within_s=WAIT_S) as share:
                body = await arrival.whole(receive, MAX_BODY)
                share.shrink(len(body))
                return await self._serve(holder, scope["method"], scope["path"], body)
        except arrival.TooLarge:
            _refuse(413, "body_too_large", f"The most a step may return is {RESULT_MAX} bytes.")
        except arrival.TooSlow:
            _refuse(408, "request_timeout", f"The body did not arrive within {arrival.BODY_S:g} s.")
        except Full:
            _refuse(503, "gateway_busy", f"Bodies of {MAX_BUFFERED} bytes are under way; try again.")

    def _holder(self, headers: Iterable[Header]) -> Holder:
        attempt_id = self._grants.attempt(_bearer(headers))
        if attempt_id is None:
            _refuse(
                401,
                "no_run_token",
                "Use the OUTLAST_RUN_TOKEN of the agent's environment as the bearer token.",
            )
        holder = self._grants.holder(attempt_id)
        if holder is None:
            _refuse(403, "attempt_over", "This attempt no longer holds its run; nothing it says counts.")
        return holder

    async def _serve(self, holder: Holder, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        thing, _, name = path.removeprefix(f"{PREFIX}/").partition("/")
        match method, thing:
            case "POST", "steps":
                return await self._begin(holder, name, _read(body, BeginBody))
            case "PUT", "steps" if name:
                return await self._end(holder, _checked("key", name), _read(body, EndBody))
            case _:
                _refuse(404, "unknown_url", f"There is nothing at {method} {path[:200]}. {SERVED}")

    async def _begin(self, holder: Holder, key: str, asked: BeginBody) -> tuple[int, bytes]:
        attempt = self._attempts.setdefault(holder, _Attempt())
        name = _checked("name", asked.name or key)
        key = _checked("key", key) if key else _next_key(attempt, name, bytes(asked.input))
        verdict = await _insist(
            holder,
            lambda: self._steps.begin(
                holder.run_id, holder.attempt_id, key, name, asked.effect, bytes(asked.input) or None
            ),
        )
        match verdict:
            case Go(idempotency_key=idempotency_key):
                if key in attempt.doing:
                    _refuse(409, "step_running", f"Step {key} is being done, and may be done once only.")
                if asked.effect is Effect.ONCE:
                    attempt.doing.add(key)
                return 201, _encode({"state": "run", "step": key, "idempotency_key": idempotency_key})
            case Done(result=result):
                return 200, _encode({"state": "done", "step": key, "result": msgspec.Raw(result)})
            case Failed(error=error):
                return 200, _encode({"state": "failed", "step": key, "error": error})
            case Unsure():
                words = (
                    f"The run waits for a person to say whether step {key} was done; this attempt is over."
                )
                return 409, _problem(409, "step_unsure", words, state="waiting", step=key)

    async def _end(self, holder: Holder, key: str, said: EndBody) -> tuple[int, bytes]:
        result, error = bytes(said.result), said.error
        if bool(result) == (error is not None):
            _refuse(422, "invalid_body", "The body has either a result, which may be null, or an error.")
        ours = holder.run_id, holder.attempt_id, key
        if error is None:
            step = await _insist(holder, partial(self._steps.end, *ours, result))
        else:
            step = await _insist(holder, partial(self._steps.fail, *ours, error))
        self._attempts.setdefault(holder, _Attempt()).doing.discard(key)
        return 200, _encode({"state": step.state.value, "step": key})


SERVED = "The run's address serves POST /steps, POST /steps/{key} and PUT /steps/{key}."


def _next_key(attempt: _Attempt, name: str, input: bytes) -> str:
    """A key that a later attempt makes too: the name, the input, and how often this attempt has come with both.

    Counted here and for each input, so that neither threads nor processes of the agent have to keep an order.
    """
    key = name[:NAME_IN_KEY]
    if input:
        canonical = msgspec.json.encode(_decoded(input), order="sorted")
        key = f"{key}:{hashlib.sha256(canonical).hexdigest()[:12]}"
    attempt.counts[key] += 1
    return f"{key}:{attempt.counts[key]}"


async def _insist(holder: Holder, write: Callable[[], Awaitable[T]]) -> T:
    """Write, again and again while the store is away and the attempt is not over."""
    pause_s, longest_s = PAUSE_S
    while True:
        try:
            return await write()
        except StoreUnavailable:
            if holder.is_over:
                raise
        await asyncio.sleep(pause_s)
        pause_s = min(pause_s * 2, longest_s)


def _checked(what: str, text: str) -> str:
    if not 1 <= len(text) <= 255 or not text.isprintable():
        _refuse(422, "invalid_body", f"The {what} of a step has 1 to 255 characters that can be printed.")
    return text


B = TypeVar("B", BeginBody, EndBody)


def _read(body: bytes, kind: type[B]) -> B:
    try:
        body.decode()
        return msgspec.json.decode(body or b"{}", type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        _refuse(422, "invalid_body", f"The body cannot be read: {error}")


def _decoded(json: bytes) -> object:
    try:
        found: object = msgspec.json.decode(json)
        return found
    except (msgspec.MsgspecError, RecursionError) as error:
        _refuse(422, "invalid_body", f"The input cannot be read: {error}")


class _Problem(Exception):
    """The request is not served."""

    def __init__(self, status: int, body: bytes) -> None:
        self.status = status
        self.body = body


def _refuse(status: int, code: str, detail: str) -> NoReturn:
    raise _Problem(status, _problem(status, code, detail))


def _problem_of(error: OutlastError) -> tuple[int, bytes]:
    match error:
        case Fenced() | RunNotFound():
            status, code = 403, "attempt_over"
        case Conflict():
            status, code = 409, error.code
        case BodyTooLarge():
            status, code = 413, error.code
        case StoreUnavailable():
            status, code = 503, error.code
        case _:
            status, code = 400, error.code
    return status, _problem(status, code, error.detail)


def _problem(status: int, code: str, detail: str, **more: str) -> bytes:
    title = detail.partition(";")[0].partition(". ")[0].rstrip(".")
    said = {
        "type": f"urn:outlast:problem:{code}",
        "title": title,
        "status": status,
        "detail": detail,
        "code": code,
    }
    return _encode({**said, **more})


_encode: Callable[[object], bytes] = msgspec.json.Encoder().encode


def _bearer(headers: Iterable[Header]) -> str:
    for name, value in headers:
        if name == b"authorization" and value[:7].lower() == b"bearer ":
            return value[7:].decode("latin-1")
    return ""
