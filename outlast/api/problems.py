"""Errors on the wire: one table from code to status, and `application/problem+json` (RFC 9457)."""

from http import HTTPStatus

import msgspec

from outlast.api.http import CLOSE, Header, Reply
from outlast.errors import (
    Draining,
    IdempotencyConflict,
    OutlastError,
    RangeNotSatisfiable,
    StoreUnavailable,
    Unauthorized,
)

STATUS: dict[str, int] = {
    "bad_request": 400,
    "prompt_missing": 400,
    "invalid_query": 400,
    "refused": 400,
    "run_finished": 400,
    "run_active": 400,
    "run_not_succeeded": 400,
    "unauthorized": 401,
    "not_found": 404,
    "run_not_found": 404,
    "schedule_not_found": 404,
    "session_not_found": 404,
    "step_not_found": 404,
    "method_not_allowed": 405,
    "request_timeout": 408,
    "conflict": 409,
    "idempotency_conflict": 409,
    "schedule_changed": 409,
    "step_mismatch": 409,
    "step_not_begun": 409,
    "step_not_waiting": 409,
    "fenced": 409,
    "body_too_large": 413,
    "unsupported_media_type": 415,
    "range_not_satisfiable": 416,
    "host_not_allowed": 421,
    "invalid_body": 422,
    "unknown_framework": 422,
    "framework_not_installed": 422,
    "unknown_agent": 422,
    "agent_file_refused": 422,
    "invalid_agent_yaml": 422,
    "no_model_configured": 422,
    "webhook_refused": 422,
    "invalid_schedule": 422,
    "too_many_schedules": 422,
    "internal_error": 500,
    "config_error": 500,
    "store_owned": 500,
    "store_unavailable": 503,
    "draining": 503,
}

PROBLEM: Header = (b"content-type", b"application/problem+json")
_RETRY_SOON: Header = (b"retry-after", b"1")


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """The body of every error answer."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    job_id: str | None = None
    """The run that an idempotency key already belongs to."""
    message: str | None = None
    """The same sentence as `detail`, where clients look for it under this name."""


def problem(error: OutlastError) -> Problem:
    """What the wire says of an error."""
    status = STATUS.get(error.code, 500)
    title = (type(error).__doc__ or HTTPStatus(status).phrase).partition("\n")[0]
    said = Problem(f"urn:outlast:problem:{error.code}", title, status, error.detail, error.code)
    if isinstance(error, IdempotencyConflict):
        return msgspec.structs.replace(said, job_id=error.run_id, message=error.detail)
    return said


def reply(error: OutlastError, *more: Header) -> Reply:
    """The answer to a request that failed with `error`."""
    said = problem(error)
    return Reply(said.status, _encode(said), (PROBLEM, *_headers(error), *more))


def _headers(error: OutlastError) -> tuple[Header, ...]:
    match error:
        case Unauthorized():
            return ((b"www-authenticate", b'Bearer realm="outlast"'),)
        case Draining() | StoreUnavailable():
            return (_RETRY_SOON,)
        case RangeNotSatisfiable():
            return ((b"content-range", b"bytes */%d" % error.size),)
        case _ if STATUS.get(error.code) in (408, 413):
            return (CLOSE,)  # the rest of the body is not read
        case _:
            return ()


_encode = msgspec.json.Encoder().encode
