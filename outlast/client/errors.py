"""What can go wrong for a client, one class per thing a caller would do about it.

Errors that the server answered carry its `status`, its stable `code` and its `detail`, the sentence for people.
"""


class ClientError(Exception):
    """The root of the tree."""

    code = "client_error"

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail
        self.after_retry = False
        """Whether an earlier try of the same request may have reached the server."""


class Misconfigured(ClientError):
    """The server's address or the API key cannot be used as it is."""

    code = "misconfigured"


class Unreachable(ClientError):
    """No answer came: nothing listens there, or the connection broke."""

    code = "unreachable"


class WaitTimedOut(ClientError):
    """The run had not ended when the time to wait was up; it goes on."""

    code = "wait_timed_out"


class AnsweredError(ClientError):
    """The server answered, but not with what was asked for."""

    def __init__(
        self, detail: str, *, status: int, code: str, job_id: str | None = None, retry_after_s: float = 0.0
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.job_id = job_id
        """The run that is in the way, when the server names one."""
        self.retry_after_s = retry_after_s


class ServerError(AnsweredError):
    """The server failed or is not ready (5xx, or an answer that is none of Outlast's)."""


class RequestError(AnsweredError):
    """The server refused the request (4xx)."""


class Invalid(RequestError):
    """The request says something the server cannot serve (400, 413, 415, 422)."""


class Unauthorized(RequestError):
    """The server wants an API key, or another one (401, 403)."""


class NotFound(RequestError):
    """There is no such run, or it belongs to someone else (404)."""


class Conflict(RequestError):
    """The idempotency key belongs to a run with another body; `job_id` names it (409)."""


class RunFinished(RequestError):
    """The run has already ended, so it cannot be cancelled."""


class RunActive(RequestError):
    """The run has not ended, so it cannot be deleted."""


class RunNotSucceeded(RequestError):
    """The run has no result: not yet, or not ever."""


_BY_CODE: dict[str, type[RequestError]] = {
    "run_finished": RunFinished,
    "run_active": RunActive,
    "run_not_succeeded": RunNotSucceeded,
}
_BY_STATUS: dict[int, type[RequestError]] = {
    400: Invalid,
    401: Unauthorized,
    403: Unauthorized,
    404: NotFound,
    409: Conflict,
    413: Invalid,
    415: Invalid,
    422: Invalid,
}


def class_for(status: int, code: str) -> type[AnsweredError]:
    """The class for an answer that is not a success."""
    if not 400 <= status < 500:
        return ServerError
    return _BY_CODE.get(code) or _BY_STATUS.get(status, RequestError)
