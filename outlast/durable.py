"""For code inside a run: steps that are done once, and given back when the run is taken up again.

    from outlast import tool

    @tool(effect="once")
    def pay(euros: int, idempotency_key: str) -> str: ...

Inside a run a finished call is recorded, and a later attempt gets its result instead of another call; outside of one
this is a plain function. It works in any framework and any environment: it needs the standard library alone, finds its
run in `OUTLAST_RUN_URL` and `OUTLAST_RUN_TOKEN`, and speaks the HTTP that docs/guides/steps.md has for other languages.
"""

import asyncio
import dataclasses
import functools
import http.client
import inspect
import json
import os
import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import PurePath
from typing import Literal, ParamSpec, TypeVar, cast, overload
from urllib.parse import quote, urlsplit

P = ParamSpec("P")
T = TypeVar("T")
Effect = Literal["read", "idempotent", "once"]

PATIENCE_S = 300.0
"""How long an answer may take: while the store is away, the worker tries on for as long as it has its lease."""
UNSURE_S = 60.0
"""How long code is held up whose run waits for a person; its process is ended long before."""
PARAMETER = "idempotency_key"
"""A function with a parameter of this name gets the step's idempotency key in it."""


class StepError(RuntimeError):
    """A step could not be begun or recorded."""


class StepFailed(StepError):
    """The step may be done once only, and has failed before, or a person says that it has."""


@dataclasses.dataclass(frozen=True)
class Begun:
    """What to do about a step."""

    step: str
    """Its key."""
    state: str
    """`run`, `done`, `failed` or `waiting`."""
    idempotency_key: str = ""
    result: object = None
    error: str = ""


class Steps:
    """The steps of one attempt; safe in any thread. Each request has a connection of its own."""

    def __init__(self, url: str, token: str) -> None:
        parts = urlsplit(url)
        self._address = parts.hostname or "", parts.port or 80
        self._path = f"{parts.path}/steps"
        self._token = token

    def do(
        self,
        name: str,
        function: Callable[..., T],
        args: Sequence[object] = (),
        kwargs: Mapping[str, object] | None = None,
        *,
        effect: Effect = "read",
        key: str | None = None,
    ) -> T:
        """Call the function as a step, or give back what came of it before; of an async one, something to await.

        A step gives what JSON makes of its result, the first time too.
        """
        call = Call(function, args, kwargs or {})
        work = self._do_async if inspect.iscoroutinefunction(function) else self._do
        return cast("T", work(call, name, effect, key))  # as JSON gives it back, or the awaitable of that

    def _do(self, call: "Call", name: str, effect: Effect, key: str | None) -> object:
        begun = self.begin(name, effect, call.input, key)
        if begun.state == "run":
            try:
                result = call(begun.idempotency_key)
            except Exception as error:
                self._note(begun.step, error)
                raise
            return self.end(begun.step, result)
        if begun.state == "waiting":
            threading.Event().wait(UNSURE_S)
        return _kept(begun)

    async def _do_async(self, call: "Call", name: str, effect: Effect, key: str | None) -> object:
        begun = await asyncio.to_thread(self.begin, name, effect, call.input, key)
        if begun.state == "run":
            try:
                result = await cast("asyncio.Future[object]", call(begun.idempotency_key))  # it is async
            except Exception as error:
                await asyncio.to_thread(self._note, begun.step, error)
                raise
            return await asyncio.to_thread(self.end, begun.step, result)
        if begun.state == "waiting":
            await asyncio.sleep(UNSURE_S)
        return _kept(begun)

    def begin(self, name: str, effect: Effect, input: object = None, key: str | None = None) -> Begun:
        """Ask whether to do a step. Without a key it is known by its name, its input, and how often that came."""
        order: dict[str, object] = {"name": name, "effect": effect}
        if input is not None:
            order["input"] = input
        path = self._path if key is None else f"{self._path}/{quote(key, safe='')}"
        answer = self._send("POST", path, _encoded(order, _shown))
        names = {field.name for field in dataclasses.fields(Begun)}
        return Begun(**{name: value for name, value in answer.items() if name in names})  # type: ignore[arg-type]  # the gateway's words

    def end(self, step: str, result: object) -> object:
        """The step is done: what JSON makes of its result, on disk. `StepError` if that is not to be had."""
        try:
            text = _encoded({"result": result}, _plain)
            self._send("PUT", f"{self._path}/{quote(step, safe='')}", text)
        except (TypeError, ValueError, RecursionError) as error:
            refusal = StepError(f"The result of step {step} has no JSON form: {error}")
            self._note(step, refusal)
            raise refusal from error
        except _TooLarge as error:
            self._note(step, error)
            raise
        return json.loads(text)["result"]

    def fail(self, step: str, error: str) -> None:
        """The step has ended with an error."""
        self._send("PUT", f"{self._path}/{quote(step, safe='')}", _encoded({"error": error}, _plain))

    def _note(self, step: str, error: Exception) -> None:
        with suppress(StepError):  # what the agent has to hear of is its own error
            self.fail(step, f"{type(error).__name__}: {error}")

    def _send(self, method: str, path: str, body: bytes) -> dict[str, object]:
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        connection = http.client.HTTPConnection(*self._address, timeout=PATIENCE_S)
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            answer: dict[str, object] = json.loads(response.read())
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise StepError(f"Outlast cannot be reached at OUTLAST_RUN_URL: {error}") from error
        finally:
            connection.close()
        if response.status < 400 or answer.get("state") == "waiting":
            return answer
        kind = _TooLarge if response.status == 413 else StepError
        raise kind(str(answer.get("detail")))


class _TooLarge(StepError):
    pass


class Call:
    """A function, what it is called with, and how that reads."""

    def __init__(
        self, function: Callable[..., object], args: Sequence[object], kwargs: Mapping[str, object]
    ) -> None:
        self._function = function
        self._args = args
        self._kwargs = dict(kwargs)
        self._wants_key = wants_key(function) and PARAMETER not in self._kwargs

    def __call__(self, idempotency_key: str | None = None) -> object:
        if self._wants_key:
            key = idempotency_key or f"local_{uuid.uuid4().hex}"
            return self._function(*self._args, **self._kwargs, **{PARAMETER: key})
        return self._function(*self._args, **self._kwargs)

    @property
    def input(self) -> dict[str, object] | None:
        """The arguments by name, null if there are none."""
        try:
            bound = inspect.signature(self._function).bind_partial(*self._args, **self._kwargs)
        except (TypeError, ValueError):
            return {"args": list(self._args), **self._kwargs}
        bound.apply_defaults()
        named = {name: value for name, value in bound.arguments.items() if name not in ("self", PARAMETER)}
        return named or None


def _kept(begun: Begun) -> object:
    match begun.state:
        case "done":
            return begun.result
        case "failed":
            raise StepFailed(begun.error)
        case _:
            raise StepError(f"The run waits for a person to say whether step {begun.step} was done.")


def wants_key(function: Callable[..., object]) -> bool:
    """Whether the function has a place for the idempotency key."""
    try:
        return PARAMETER in inspect.signature(function).parameters
    except (TypeError, ValueError):
        return False


def here() -> Steps | None:
    """The steps of the run that this process belongs to, null outside of one."""
    url, token = os.environ.get("OUTLAST_RUN_URL"), os.environ.get("OUTLAST_RUN_TOKEN")
    return Steps(url, token) if url and token else None


@overload
def tool(function: Callable[P, T]) -> Callable[P, T]: ...


@overload
def tool(
    *, effect: Effect = "read", name: str | None = None
) -> Callable[[Callable[..., T]], Callable[..., T]]: ...


def tool(
    function: Callable[..., T] | None = None, *, effect: Effect = "read", name: str | None = None
) -> Callable[..., T] | Callable[[Callable[..., T]], Callable[..., T]]:
    """Make a function, sync or async, a step wherever it is called in a run: a tool for any framework.

    `effect` says what it means to call it again if an attempt died over it: `read` and `idempotent` are called again,
    over `once` the run waits for a person. A parameter `idempotency_key` is filled in, and no model gets to see it.
    """
    if effect not in ("read", "idempotent", "once"):
        raise ValueError(f"effect is read, idempotent or once, not {effect!r}")
    if function is None:
        return functools.partial(_tool, effect=effect, name=name)
    return _tool(function, effect=effect, name=name)


def _tool(function: Callable[..., T], *, effect: Effect, name: str | None) -> Callable[..., T]:
    title = name or str(getattr(function, "__name__", "tool"))
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(f"{title} is a generator; a step has one result.")

    def call(*args: object, **kwargs: object) -> T:
        steps = here()
        if steps is None:
            return cast("T", Call(function, args, kwargs)())  # as if it were not decorated
        return steps.do(title, function, args, kwargs, effect=effect)

    if not inspect.iscoroutinefunction(function):
        return _dressed(call, function)

    async def call_async(*args: object, **kwargs: object) -> object:
        return await cast("asyncio.Future[object]", call(*args, **kwargs))  # it is async

    return cast(
        "Callable[..., T]", _dressed(call_async, function)
    )  # awaited, it gives what the function gives


C = TypeVar("C", bound=Callable[..., object])


def _dressed(call: C, function: Callable[..., object]) -> C:
    """What frameworks see of a tool: the function's name, text and parameters, but not the idempotency key."""
    functools.update_wrapper(call, function)
    call.__dict__["__outlast_tool__"] = True
    if wants_key(function):
        signature = inspect.signature(function)
        kept = [it for it in signature.parameters.values() if it.name != PARAMETER]
        call.__dict__["__signature__"] = signature.replace(parameters=kept)
        call.__annotations__ = {k: v for k, v in function.__annotations__.items() if k != PARAMETER}
    return call


def _encoded(value: object, default: Callable[[object], object]) -> bytes:
    text = json.dumps(value, default=default, ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8", "replace")  # a lone surrogate has no place in UTF-8


def _plain(value: object) -> object:
    """The JSON of what is not JSON by itself, where there is one."""
    dump = getattr(value, "model_dump", None)  # a Pydantic model
    if callable(dump):
        found: object = dump(mode="json")
        return found
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, Decimal | uuid.UUID | PurePath):
        return str(value)
    raise TypeError(f"{type(value).__name__} is no JSON value")


def _shown(value: object) -> object:
    """Something to know an argument by, whatever it is; never an address in memory."""
    try:
        return _plain(value)
    except Exception:
        return f"<{type(value).__qualname__}>"
