"""What a runner's code holds while it runs: its words become frames, from whichever thread they come.

Everything is bounded here, where it arises: a shared host has one link for all its runs, and none of them may flood
it. Token deltas are joined for a few hundredths of a second, since whoever watches cannot tell.
"""

import threading
from collections.abc import Callable
from typing import TypeVar

import msgspec

from outlast.clock import Clock
from outlast.durable import Effect, Steps
from outlast.runners.protocol import Job, Logged, Progressed, Start, Terminal, Token, ToParent
from outlast.runs import Progress, RunRequest
from outlast.worker.logs import Meter, presentable

PAUSE_S = 0.03
"""Progress and token deltas leave at most this often."""
STEP_MAX = 1000
T = TypeVar("T")

Send = Callable[[ToParent], None]
"""Safe to call from any thread; never raises."""
Later = Callable[[float, Callable[[], None]], object]
"""Calls a function on the loop after some seconds; safe to call from any thread."""


def job_of(start: Start, terminal: Terminal | None = None) -> Job:
    """The attempt as its code sees it."""
    return Job(
        run_id=start.run_id,
        attempt_id=start.attempt_id,
        attempt=start.attempt,
        request=msgspec.json.decode(start.request, type=RunRequest),
        base_url=start.base_url,
        token=start.token,
        run_url=None if start.base_url is None else f"{start.base_url.removesuffix('/v1')}/run",
        agent_root=start.agent_root,
        mcp=start.mcp,
        env=start.env,
        terminal=terminal,
    )


class RunContext:
    """The `Context` of one attempt."""

    def __init__(self, job: Job, send: Send, later: Later, clock: Clock) -> None:
        self.job = job
        self._send = send
        self._later = later
        self._clock = clock
        self._meter = Meter(clock)
        self._tokens: list[str] = []
        self._progress: Progress | None = None
        self._flushed_at = float("-inf")
        self._is_armed = False
        self._lock = threading.Lock()

    def log(self, message: str) -> None:
        """A durable line of the run's log."""
        text = presentable(str(message), None)
        with self._lock:
            for line in self._meter.take(text):
                self._send(Logged(self.job.attempt_id, line))

    @property
    def room(self) -> int:
        """How many lines of log would be kept right now."""
        with self._lock:
            return self._meter.room

    def skip(self, lines: int) -> None:
        """Count lines of log that nobody even looked at."""
        with self._lock:
            for word in self._meter.drop(lines) if lines else ():
                self._send(Logged(self.job.attempt_id, word))

    def progress(self, progress: Progress) -> None:
        """How far the run is, as measured; of several in quick succession the newest."""
        step = progress.current_step
        if step is not None:
            progress = msgspec.structs.replace(progress, current_step=presentable(step, STEP_MAX))
        checked = msgspec.convert(msgspec.to_builtins(progress), Progress)
        with self._lock:
            self._progress = checked
            self._soon()

    def token(self, text: str) -> None:
        """A piece of model output for whoever watches; not kept."""
        with self._lock:
            self._tokens.append(text)
            self._soon()

    def step(
        self,
        name: str,
        function: Callable[..., T],
        *args: object,
        effect: Effect = "read",
        key: str | None = None,
        **kwargs: object,
    ) -> T:
        """Call the function, sync or async, once for the whole run: a later attempt gets its result.

        `effect` says what becomes of it if an attempt died over it; `key` names it where its name, its arguments and
        their count do not tell it from others.
        """
        url, token = self.job.run_url, self.job.token
        if url is None or token is None:
            raise RuntimeError("This run has no address, so it can have no steps.")
        return Steps(url, token).do(name, function, args, kwargs, effect=effect, key=key)

    def end(self) -> None:
        """The code has ended: send what was held back, and what has to be said of lost lines."""
        with self._lock:
            self._flush()
            for line in self._meter.end():
                self._send(Logged(self.job.attempt_id, line))

    def _soon(self) -> None:
        """Send now if the last time is long enough ago, else in a moment: a loop that is blocked sends as well."""
        if self._clock.monotonic() - self._flushed_at >= PAUSE_S:
            self._flush()
        elif not self._is_armed:
            self._is_armed = True
            self._later(PAUSE_S, self._due)

    def _due(self) -> None:
        with self._lock:
            self._is_armed = False
            self._flush()

    def _flush(self) -> None:
        self._flushed_at = self._clock.monotonic()
        text, progress = "".join(self._tokens), self._progress
        self._tokens, self._progress = [], None
        if progress is not None:
            self._send(Progressed(self.job.attempt_id, progress))
        if text:
            self._send(Token(self.job.attempt_id, presentable(text, None)))
