"""What went wrong between an agent and its model, as the code and the sentence that end the run."""

from pydantic_ai.exceptions import (
    AgentRunError,
    ContentFilterError,
    ModelAPIError,
    ModelConnectionError,
    ModelHTTPError,
    OutputTokenLimitExceeded,
    UnexpectedModelBehavior,
    UsageLimitExceeded,
    UserError,
)

from outlast.runners.protocol import AgentFailed

LONGEST = 2000
"""Characters of a provider's reason; some answer with a whole web page."""


def as_failure(error: AgentRunError | UserError) -> AgentFailed:
    """`model_error` with the provider's own reason, or what the model did that no agent can use."""
    match error:
        case ModelHTTPError():
            return AgentFailed(
                "model_error", f"The model answered {error.status_code}: {_reason(error.body)}"
            )
        case ModelConnectionError():
            return AgentFailed("model_error", f"The call to the model broke off: {_cause(error)}")
        case ModelAPIError():
            return AgentFailed(
                "model_error", f"The call to the model failed: {_reason(error.body or error.message)}"
            )
        case UsageLimitExceeded():
            return AgentFailed("usage_limit", f"A task asked its model too often: {error.message}.")
        case OutputTokenLimitExceeded():
            return AgentFailed("output_too_long", f"The model's answer was cut off: {error.message}")
        case ContentFilterError():
            return AgentFailed(
                "content_filter", f"The provider's content filter stopped the answer: {error.message}"
            )
        case UnexpectedModelBehavior():
            return AgentFailed("unexpected_output", f"The model's answer cannot be used: {error.message}")
        case _:
            return AgentFailed("agent_error", str(error))


def _reason(body: object) -> str:
    """The sentence in an error body of OpenAI's form, else the body."""
    match body:
        case {"message": str(message)} | {"detail": str(message)}:
            return message[:LONGEST]
        case {"error": inner} if inner:
            return _reason(inner)
        case None | "":
            return "no reason was given."
        case _:
            return str(body)[:LONGEST]


def _cause(error: BaseException) -> str:
    """The last sentence of the chain that says anything."""
    words = str(error)
    while error.__cause__ is not None:
        error = error.__cause__
        words = str(error) or words
    return words
