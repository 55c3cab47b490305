"""What goes in and out of the gateway: a call as an agent asked it, and what it is answered."""

from collections.abc import AsyncGenerator

import msgspec

from outlast.gateway.dialect import Dialect, error_body, spoken

Header = tuple[bytes, bytes]

JSON: Header = (b"content-type", b"application/json")
NO_RETRY: Header = (b"x-should-retry", b"false")
"""OpenAI's clients obey it: what the gateway gave up on is not tried again by the agent."""


class Ask(msgspec.Struct, frozen=True):
    """A call, as it came from the agent."""

    path: str
    """Below the base URL: `/chat/completions`."""
    query: str
    headers: tuple[Header, ...]
    """Names in lower case."""
    body: bytes

    @property
    def dialect(self) -> Dialect:
        return spoken(self.path, self.headers)

    def header(self, name: bytes) -> bytes | None:
        return next((value for key, value in self.headers if key == name), None)

    @property
    def retries(self) -> int:
        """How often the agent's client says that it has asked the same before."""
        said = self.header(b"x-stainless-retry-count")
        return int(said) if said is not None and said.isdigit() and len(said) < 4 else 0


class Answer(msgspec.Struct, frozen=True):
    """What the agent gets."""

    status: int
    headers: tuple[Header, ...]
    body: bytes | AsyncGenerator[bytes, None]
    """Whole, or in pieces as they arrive; the generator raises `BrokenOff` if they stop before the end."""


class BrokenOff(Exception):
    """The provider's stream ended before its end; what the agent has got so far is not an answer."""


class Refusal(msgspec.Struct, frozen=True):
    """An error of the gateway's own: nobody should try the same again, unless it says so."""

    status: int
    code: str
    message: str
    may_retry: bool = False

    def body(self, dialect: Dialect) -> bytes:
        """In the form that the dialect's clients read."""
        return error_body(dialect, self.status, self.code, self.message)

    def answer(self, dialect: Dialect) -> Answer:
        """What the agent gets."""
        return Answer(self.status, (JSON,) if self.may_retry else (JSON, NO_RETRY), self.body(dialect))


NO_TOKEN = Refusal(
    401,
    "no_run_token",
    "This endpoint answers to the token of a running attempt only: use the OPENAI_API_KEY that Outlast put in the "
    "agent's environment (ANTHROPIC_API_KEY is the same) as the bearer key, or as x-api-key.",
)
ATTEMPT_OVER = Refusal(
    403, "attempt_over", "This attempt no longer holds its run; it may make no further model calls."
)
FAILED = Refusal(500, "internal_error", "The gateway failed; the server's log says why.")
