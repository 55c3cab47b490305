"""Every error Outlast raises on purpose: one class, one sentence, one stable code.

The message of an error names the thing and the way out; `api/problems.py` maps each code to a status.
A failed agent is not here: that is data (`runs.RunError`), not an exception in our process.
"""

from collections.abc import Iterable
from difflib import get_close_matches


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`Did you mean 'timeout'?`: the known word nearest to a wrong one, for the end of a message."""
    nearest = get_close_matches(word, list(known), n=1, cutoff=0.0)
    return f"Did you mean {nearest[0]!r}?" if nearest else ""


def quoted(text: str) -> str:
    """What a client sent, as it may stand in a message: in quotes, escaped, and short."""
    return repr(text if len(text) <= 80 else text[:79] + "…")


class OutlastError(Exception):
    """Something in Outlast is broken.

    The root of the tree; a bare one is a bug.
    """

    code = "internal_error"

    @property
    def detail(self) -> str:
        """The human sentence."""
        return str(self)


class BadRequest(OutlastError):
    """What the client sent cannot be served as it is."""

    code = "bad_request"


class PromptMissing(BadRequest):
    """The prompt is absent, null, blank or not a string."""

    code = "prompt_missing"


class InvalidBody(BadRequest):
    """The body is not JSON, has an unknown field, or a value out of range."""

    code = "invalid_body"


class InvalidQuery(BadRequest):
    """A query parameter has a value that means nothing."""

    code = "invalid_query"


class UnsupportedMediaType(BadRequest):
    """The body is not declared as application/json."""

    code = "unsupported_media_type"


class BodyTooLarge(BadRequest):
    """The body is larger than the server accepts."""

    code = "body_too_large"


class RequestTooSlow(BadRequest):
    """The body did not arrive in time."""

    code = "request_timeout"


class UnknownFramework(BadRequest):
    """No runner answers to that framework name."""

    code = "unknown_framework"


class FrameworkNotInstalled(BadRequest):
    """The framework is known, but its runner is not installed here."""

    code = "framework_not_installed"


class UnknownAgent(BadRequest):
    """No agent of that name is configured."""

    code = "unknown_agent"


class AgentFileRefused(BadRequest):
    """The agent file is missing, unreadable or outside the agent root."""

    code = "agent_file_refused"


class InvalidAgentYaml(BadRequest):
    """The agents.yaml does not say something that can be run; names the line at fault."""

    code = "invalid_agent_yaml"


class NoModelConfigured(BadRequest):
    """The run needs a model and neither this server nor a live worker has one."""

    code = "no_model_configured"


class WebhookRefused(BadRequest):
    """The webhook's address is not one the server will call."""

    code = "webhook_refused"


class InvalidSchedule(BadRequest):
    """The schedule's cron, time zone or run is not one that can be kept."""

    code = "invalid_schedule"


class TooManySchedules(BadRequest):
    """There are as many schedules as one tenant may have."""

    code = "too_many_schedules"


class Unauthorized(OutlastError):
    """No valid key came with the request."""

    code = "unauthorized"


class HostNotAllowed(OutlastError):
    """The request names a host that this server does not go by."""

    code = "host_not_allowed"


class NotFound(OutlastError):
    """There is nothing at this path."""

    code = "not_found"


class RunNotFound(NotFound):
    """No run of that id, or not this caller's."""

    code = "run_not_found"


class ScheduleNotFound(NotFound):
    """No schedule of that id, or not this caller's."""

    code = "schedule_not_found"


class SessionNotFound(NotFound):
    """No session of that id, or not this caller's."""

    code = "session_not_found"


class StepNotFound(NotFound):
    """The run has no step of that key."""

    code = "step_not_found"


class MethodNotAllowed(BadRequest):
    """The path is right, the method is not."""

    code = "method_not_allowed"


class RangeNotSatisfiable(BadRequest):
    """The range asked for lies outside of what there is."""

    code = "range_not_satisfiable"

    def __init__(self, message: str, *, size: int) -> None:
        super().__init__(message)
        self.size = size


class Conflict(OutlastError):
    """The request contradicts what already is."""

    code = "conflict"


class IdempotencyConflict(Conflict):
    """The idempotency key already belongs to a run with another body."""

    code = "idempotency_conflict"

    def __init__(self, message: str, *, run_id: str) -> None:
        super().__init__(message)
        self.run_id = run_id


class ScheduleChanged(Conflict):
    """Somebody else has changed the schedule since it was read; nothing was written."""

    code = "schedule_changed"


class StepMismatch(Conflict):
    """The key belongs to another step of the run."""

    code = "step_mismatch"


class StepNotBegun(Conflict):
    """The attempt says how a step ended that it has not begun."""

    code = "step_not_begun"


class StepNotWaiting(Conflict):
    """The step does not wait for an answer, or has had another one."""

    code = "step_not_waiting"


class Refused(OutlastError):
    """The state machine has no rule for this command in the run's present state."""

    code = "refused"


class RunFinished(Refused):
    """The run has ended; its outcome is final."""

    code = "run_finished"


class RunActive(Refused):
    """The run has not ended yet."""

    code = "run_active"


class RunNotSucceeded(Refused):
    """The run has no result to give (yet, or ever)."""

    code = "run_not_succeeded"


class Fenced(Refused):
    """The attempt no longer holds its run; nothing it writes counts."""

    code = "fenced"


class StoreUnavailable(OutlastError):
    """The store cannot commit right now; nothing was accepted."""

    code = "store_unavailable"


class StoreOwned(OutlastError):
    """Another server process owns this data folder."""

    code = "store_owned"


class Draining(OutlastError):
    """The server is shutting down and takes no new work."""

    code = "draining"


class ConfigError(OutlastError):
    """A setting is wrong; the server refuses to start."""

    code = "config_error"
