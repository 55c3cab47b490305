"""The two dialects that agents speak: whose each path is, and how each reads errors and lists of models."""

from collections.abc import Iterable, Sequence
from enum import StrEnum

import msgspec

Headers = Iterable[tuple[bytes, bytes]]


class Dialect(StrEnum):
    """Whose API a request is written for."""

    OPENAI = "openai"
    ANTHROPIC = "anthropic"


MESSAGES = "/messages"
COUNT_TOKENS = "/messages/count_tokens"
"""Anthropic's free count of what a message would take: nothing is generated."""
EMBEDDINGS = "/embeddings"
SERVED = frozenset({"/chat/completions", "/responses", EMBEDDINGS, MESSAGES, COUNT_TOKENS})


def spoken(path: str, headers: Headers) -> Dialect:
    """The path says it; for a path of both, the header that Anthropic's clients always send."""
    if path in SERVED:
        return Dialect.ANTHROPIC if path.startswith(MESSAGES) else Dialect.OPENAI
    versioned = any(name == b"anthropic-version" for name, _ in headers)
    return Dialect.ANTHROPIC if versioned else Dialect.OPENAI


def token(headers: Headers) -> str:
    """The key that the agent's client sends: as a bearer, or in the header that Anthropic's or Azure's clients use."""
    for name, value in headers:
        if name == b"authorization" and value[:7].lower() == b"bearer ":
            return value[7:].decode("latin-1")
        if name in (b"x-api-key", b"api-key"):
            return value.decode("latin-1")
    return ""


def error_body(dialect: Dialect, status: int, code: str, message: str) -> bytes:
    """An error as the dialect's clients read it. The code is ours in both: Anthropic's own have none."""
    if dialect is Dialect.ANTHROPIC:
        error: dict[str, object] = {
            "type": _ANTHROPIC_KINDS.get(status, "api_error"),
            "message": message,
            "code": code,
        }
        return msgspec.json.encode({"type": "error", "error": error})
    kind = _OPENAI_KINDS.get(status, "server_error")
    error = {"message": message, "type": kind, "param": None, "code": code}
    return msgspec.json.encode({"error": error})


_OPENAI_KINDS = {
    401: "authentication_error",
    403: "permission_error",
    404: "invalid_request_error",
    408: "invalid_request_error",
    413: "invalid_request_error",
    429: "rate_limit_error",
}
_ANTHROPIC_KINDS = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}


def models_body(dialect: Dialect, names: Sequence[str]) -> bytes:
    """The list of models to name."""
    if dialect is Dialect.ANTHROPIC:
        models: list[dict[str, object]] = [
            {"type": "model", "id": name, "display_name": name, "created_at": "1970-01-01T00:00:00Z"}
            for name in names
        ]
        ends = {"first_id": names[0] if names else None, "last_id": names[-1] if names else None}
        return msgspec.json.encode({"data": models, "has_more": False, **ends})
    models = [{"id": name, "object": "model", "created": 0, "owned_by": "outlast"} for name in names]
    return msgspec.json.encode({"object": "list", "data": models})
