"""When to ask again: after a failure, and while a run has not ended. Decides only; sleeping is left to the clients."""

import math
import random
import re
import time

import httpx

from outlast.client.errors import ClientError, ServerError, Unreachable

END_PAUSE_S = 0.3
"""Before a stream is asked for again that ended without its last event, as when a server shuts down."""

_ERRNO = re.compile(r"^\[Errno -?\d+\] ")
_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 2.0
_PASSING = frozenset({502, 503, 504})
"""Answers of a server that is starting, draining or behind a proxy that lost it."""


class Retry:
    """One request's tries: as many as fit into `for_s` seconds from the first failure."""

    def __init__(self, for_s: float) -> None:
        self._for_s = for_s
        self._pause_s = _FIRST_PAUSE_S
        self._since: float | None = None

    @property
    def is_retry(self) -> bool:
        return self._since is not None

    def renew(self) -> None:
        """The server answered: whatever fails from now on is a new failure."""
        self._pause_s = _FIRST_PAUSE_S
        self._since = None

    def pause(self, error: httpx.TransportError | ServerError, url: httpx.URL) -> float:
        """Seconds to wait before the next try; raises the error once there is none."""
        failure = error if isinstance(error, ServerError) else unreachable(error, url)
        failure.after_retry = self.is_retry
        if isinstance(failure, ServerError) and failure.status not in _PASSING:
            raise failure
        now = time.monotonic()
        self._since = now if self._since is None else self._since
        pause = self._next_pause(failure)
        if now + pause - self._since > self._for_s:
            raise failure from error
        return pause

    def _next_pause(self, failure: ClientError) -> float:
        pause = self._pause_s * random.uniform(0.7, 1.3)
        self._pause_s = min(self._pause_s * 2, _LONGEST_PAUSE_S)
        asked = failure.retry_after_s if isinstance(failure, ServerError) else 0.0
        return max(pause, min(asked, _LONGEST_PAUSE_S))


class Polls:
    """How a run is followed by asking for it: at once, then with requests that the server holds until it ends."""

    def __init__(self, every_s: float, timeout_s: float | None) -> None:
        self._every_s = every_s
        self._deadline = math.inf if timeout_s is None else time.monotonic() + timeout_s
        self._asked_at = 0.0
        self._asked_for_s: float | None = None

    def next_wait(self) -> float:
        """Seconds the server is to hold the next request."""
        now = time.monotonic()
        first = self._asked_for_s is None
        self._asked_at = now
        self._asked_for_s = 0.0 if first else max(0.0, min(self._every_s, self._deadline - now))
        return self._asked_for_s

    @property
    def is_over(self) -> bool:
        return time.monotonic() >= self._deadline

    def pause(self) -> float:
        """Seconds to rest: a server that answers sooner than asked is not asked in a tight loop."""
        spent = time.monotonic() - self._asked_at
        return max(0.0, min(self._asked_for_s or 0.0, 1.0) - spent)


def unreachable(error: httpx.TransportError, url: httpx.URL) -> Unreachable:
    """The sentence for a request without an answer."""
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        return Unreachable(f"Nothing answers at {url}: {_ERRNO.sub('', str(error)) or type(error).__name__}.")
    what = "did not answer in time" if isinstance(error, httpx.TimeoutException) else "broke the connection"
    return Unreachable(f"{url} {what} ({type(error).__name__}).")
