"""Each request the client makes and how its answer is read; sending it is left to the two clients."""

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Generic, Literal, Required, TypedDict, TypeVar
from urllib.parse import quote

import httpx
import msgspec

from outlast.client.errors import AnsweredError, ServerError, class_for
from outlast.client.models import (
    Accepted,
    Answer,
    Cancelled,
    ModelCalls,
    Page,
    Result,
    Run,
    Status,
    Step,
    StepPage,
    Workers,
    read,
    read_page,
)

_T = TypeVar("_T")
_A = TypeVar("_A", bound=Answer)


class Options(TypedDict, total=False):
    """What a submit may say beside its prompt; what is left out is the server's to decide."""

    agent: str | None
    """An agent that the operator has named."""
    agent_file: str | None
    """A path on the server, below its agent root."""
    agent_yaml: str | None
    """The text of an agents.yaml."""
    framework: str | None
    timeout: int | None
    """Seconds of execution."""
    webhook_url: str | None
    session_id: str | None
    metadata: Mapping[str, object] | None
    config: Mapping[str, object] | None
    recipe_name: str | None
    recipe_config: Mapping[str, object] | None
    priority: int | None
    """Seconds of head start in the queue."""
    queue: str | None
    """Only workers that serve it take the run."""
    retry: Mapping[str, object] | None
    """`max_attempts`, `backoff_s` and `journal`, for when the agent itself fails."""
    idempotency_key: str | None
    idempotency_scope: Literal["none", "session", "global"] | None
    run_at: datetime | str | None
    """Not before this time, with its zone."""
    delay: float | None
    """Not before so many seconds from now."""
    max_cost_usd: float | None
    """What its model calls may cost before it waits for more."""
    max_tokens: int | None
    """The same for tokens, sent and received together."""


class Limits(TypedDict, total=False):
    """What a run may use; None is no limit."""

    max_cost_usd: float | None
    max_tokens: int | None


class Task(Options):
    """One of several runs that are submitted together."""

    prompt: Required[str]


class Call(msgspec.Struct, Generic[_T], frozen=True):
    """A request and the way its answer is read. Every one may be sent twice without harm."""

    method: str
    path: str
    read: Callable[[httpx.Response], _T]
    params: Mapping[str, str | int | float] = {}
    headers: Mapping[str, str] = {}
    content: bytes | None = None
    patience_s: float = 0.0
    """How much longer than usual its answer may take."""


def submit(prompt: str, options: Options) -> Call[Accepted]:
    """A submit always carries an idempotency key: one made here, if the caller has none, makes a retry safe."""
    body = {"prompt": prompt, **{name: value for name, value in options.items() if value is not None}}
    key = options.get("idempotency_key")
    answer: Callable[[httpx.Response], Accepted] = _accepted
    if key is None or options.get("idempotency_scope") == "none":
        key, answer = f"client-{uuid.uuid4().hex}", reads(Accepted)
    headers = {"Content-Type": "application/json"}
    if key.isascii() and key.isprintable():
        headers["Idempotency-Key"] = key
    return Call("POST", "/api/v1/runs", answer, headers=headers, content=msgspec.json.encode(body))


def submit_many(tasks: Iterable[Task]) -> Call[list[Accepted | AnsweredError]]:
    """Each task has a key, as a submit alone has: its own, or one made here."""
    given = list(tasks)
    runs = [{name: value for name, value in _keyed(task).items() if value is not None} for task in given]
    return Call(
        "POST",
        "/api/v1/runs/batch",
        decodes(partial(_outcomes, [_has_key(task) for task in given])),
        headers={"Content-Type": "application/json"},
        content=msgspec.json.encode({"runs": runs}),
    )


def _has_key(task: Task) -> bool:
    return task.get("idempotency_key") is not None and task.get("idempotency_scope") != "none"


def _keyed(task: Task) -> dict[str, object]:
    if _has_key(task):
        return dict(task)
    return {**task, "idempotency_key": f"client-{uuid.uuid4().hex}", "idempotency_scope": None}


def get(run_id: str, wait_s: float = 0.0) -> Call[Run]:
    params = {"wait": f"{wait_s:g}"} if wait_s else {}
    return Call("GET", _path(run_id), reads(Run), params, patience_s=wait_s)


def result(run_id: str) -> Call[Result]:
    return Call("GET", _path(run_id, "/result"), reads(Result))


def raw_result(run_id: str) -> Call[bytes]:
    """A large result by itself."""
    return Call("GET", _path(run_id, "/result/raw"), _content)


def with_result(answer: Result, raw: bytes) -> Result:
    """The answer with the result put in, as a smaller one would have stood there from the start."""
    body = answer.body.rstrip().removesuffix(b"}") + b',"result":' + raw + b"}"
    return msgspec.structs.replace(answer, result=msgspec.json.decode(raw), body=body)


def cancel(run_id: str) -> Call[Cancelled]:
    return Call("POST", _path(run_id, "/cancel"), reads(Cancelled))


def change_budget(run_id: str, limits: Limits) -> Call[Run]:
    """Setting a limit twice is the same as once, so it may be tried again."""
    content, headers = msgspec.json.encode(limits), {"Content-Type": "application/json"}
    return Call("POST", _path(run_id, "/budget"), reads(Run), headers=headers, content=content)


def retry(run_id: str, *, fresh: bool) -> Call[Accepted]:
    """A key made here makes it safe to send this twice; an answer under it is new to the caller."""
    headers = {"Content-Type": "application/json", "Idempotency-Key": f"client-{uuid.uuid4().hex}"}
    content = msgspec.json.encode({"mode": "fresh" if fresh else "resume"})
    return Call("POST", _path(run_id, "/retry"), reads(Accepted), headers=headers, content=content)


def model_calls(run_id: str, after: int, limit: int) -> Call[ModelCalls]:
    return Call("GET", _path(run_id, "/calls"), reads(ModelCalls), {"after": after, "limit": limit})


def steps(run_id: str, page: int, page_size: int) -> Call[StepPage]:
    return Call("GET", _path(run_id, "/steps"), reads(StepPage), {"page": page, "page_size": page_size})


def step(run_id: str, key: str) -> Call[Step]:
    return Call("GET", _path(run_id, f"/steps/{quote(key, safe='')}"), reads(Step))


Action = Literal["retry", "skip", "fail"]


def answer_step(run_id: str, key: str, action: Action, result: object, error: str | None) -> Call[Run]:
    """The same answer twice is the same as once, so it may be tried again."""
    said: dict[str, object] = {"action": action}
    said |= {"result": result} if action == "skip" else {}
    said |= {"error": error or ""} if action == "fail" else {}
    headers, path = {"Content-Type": "application/json"}, _path(run_id, f"/steps/{quote(key, safe='')}")
    return Call("POST", path, reads(Run), headers=headers, content=msgspec.json.encode(said))


def delete(run_id: str) -> Call[None]:
    return Call("DELETE", _path(run_id), raise_for_error)


def list_runs(
    status: Status | None,
    session_id: str | None,
    page: int | None,
    page_size: int | None,
    cursor: str | None = None,
) -> Call[Page]:
    asked = {
        "status": status,
        "session_id": session_id,
        "page": page,
        "page_size": page_size,
        "cursor": cursor,
    }
    params = {name: value for name, value in asked.items() if value is not None}
    return Call("GET", "/api/v1/runs", decodes(read_page), params)


def workers() -> Call[Workers]:
    return Call("GET", "/api/v1/workers", reads(Workers))


def stream(run_id: str, last_id: int, *, tokens: bool) -> Call[None]:
    headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": str(last_id)} if last_id else {})
    return Call("GET", _path(run_id, "/stream"), raise_for_error, {"tokens": 1} if tokens else {}, headers)


def cancelled(run: Run) -> Cancelled:
    """The answer to a cancel, made from the run that was found cancelled."""
    return Cancelled(job_id=run.job_id, status=run.status, cancelled_at=run.completed_at, body=run.body)


def raise_for_error(response: httpx.Response) -> None:
    """Raise the error that an answer tells of; the answer has to be read already."""
    if not response.is_success:
        raise _error(response)


class _Problem(msgspec.Struct):
    status: int = 0
    detail: str = ""
    code: str = ""
    job_id: str | None = None


def _error(response: httpx.Response) -> AnsweredError:
    status = response.status_code
    try:
        problem = msgspec.json.decode(response.content, type=_Problem)
    except msgspec.DecodeError:
        problem = _Problem()
    code = problem.code or f"http_{status}"
    detail = problem.detail or f"The server answered {status} {response.reason_phrase}.".replace(" .", ".")
    return class_for(status, code)(
        detail, status=status, code=code, job_id=problem.job_id, retry_after_s=_retry_after(response)
    )


class _Results(msgspec.Struct):
    results: list[msgspec.Raw]


def _outcomes(has_key: Sequence[bool], body: bytes) -> list[Accepted | AnsweredError]:
    results = msgspec.json.decode(body, type=_Results).results
    return [_outcome(bytes(result), has_key=has) for result, has in zip(results, has_key, strict=False)]


def _outcome(body: bytes, *, has_key: bool) -> Accepted | AnsweredError:
    """One that was replayed under a key made here is new to the caller: the answer to the first try was lost."""
    if "code" not in msgspec.json.decode(body, type=dict[str, msgspec.Raw]):
        replayed = has_key and msgspec.json.decode(body, type=_Replayed).replayed
        return msgspec.structs.replace(read(body, Accepted), replayed=replayed)
    problem = msgspec.json.decode(body, type=_Problem)
    kind = class_for(problem.status, problem.code)
    return kind(problem.detail, status=problem.status, code=problem.code, job_id=problem.job_id)


class _Replayed(msgspec.Struct):
    replayed: bool = False


def _retry_after(response: httpx.Response) -> float:
    text = response.headers.get("Retry-After", "")
    return float(text) if text.isdigit() else 0.0


def reads(kind: type[_A]) -> Callable[[httpx.Response], _A]:
    """Read an answer of this kind, or raise the error that stands there instead."""
    return decodes(lambda body: read(body, kind))


def decodes(decode: Callable[[bytes], _T]) -> Callable[[httpx.Response], _T]:
    """Read an answer with this function, or raise the error that stands there instead."""

    def reads(response: httpx.Response) -> _T:
        raise_for_error(response)
        try:
            return decode(response.content)
        except msgspec.DecodeError as error:
            detail = f"{response.url} did not answer as an Outlast server does: {error}."
            raise ServerError(detail, status=response.status_code, code="unexpected_answer") from error

    return reads


def _content(response: httpx.Response) -> bytes:
    raise_for_error(response)
    return response.content


def _accepted(response: httpx.Response) -> Accepted:
    accepted = reads(Accepted)(response)
    replayed = response.headers.get("Idempotency-Replayed") == "true"
    return msgspec.structs.replace(accepted, replayed=replayed)


def _path(run_id: str, rest: str = "") -> str:
    return f"/api/v1/runs/{quote(run_id, safe='')}{rest}"
