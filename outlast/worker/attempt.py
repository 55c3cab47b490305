"""One attempt's life, seen from the parent: it hears what the agent says, and settles the run's fate once.

Either the agent ends, and its outcome is written when nothing of it is left; or someone decides over it (a cancel, the
timeout, a drain, a lost lease), and from then on nothing that it says counts. Its events are always written before its
end, and so are its model calls in flight if the run goes on after a loss: the next attempt shall find them. Whoever
carries the attempt's process is its `Place`.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Protocol

import msgspec

from outlast import telemetry
from outlast.clock import Clock
from outlast.engine import Engine
from outlast.errors import StoreUnavailable
from outlast.runners.protocol import Done, Failed, Logged, Progressed, Stopped, Token, ToParent
from outlast.runs import Draft, Progress, Run, RunError
from outlast.transitions import Cause
from outlast.worker.access import ModelAccess
from outlast.worker.lease import Lease
from outlast.worker.logs import Meter, Recorder, presentable

STEP_MAX = 1000
UNWRITTEN_S = 0.5
"""An agent whose end cannot be written is stopped after this time all the same."""
_MODEL_MAY_BE_WHY = frozenset({"empty_result", "exit_code"})
"""Ends behind which frameworks hide a failed model call."""
_NOT_RETRYABLE = frozenset({"result_too_large", "timeout"})

log = telemetry.get("worker")


class Place(Protocol):
    """Where an attempt's code runs."""

    def stop(self, attempt_id: str, *, grace_s: float) -> None:
        """Tell the attempt to stop, and after the grace end everything of it; then it is `gone`. Once is enough."""
        ...


class Desk:
    """What all attempts of a worker need around them."""

    def __init__(
        self,
        engine: Engine,
        access: ModelAccess,
        lease: Lease,
        clock: Clock,
        *,
        stop_grace_s: float,
        on_over: "Callable[[Attempt], None]",
    ) -> None:
        self.engine = engine
        self.access = access
        self.lease = lease
        self.clock = clock
        self.stop_grace_s = stop_grace_s
        self.on_over = on_over
        self.tasks: set[asyncio.Task[None]] = set()

    def spawn(self, work: Coroutine[None, None, None]) -> None:
        """Work in the background; what it raises is a bug and is logged."""
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self.tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("work in the background broke", exc=error)


class Attempt:
    """An attempt that this worker holds. `place` is set before it starts."""

    __slots__ = (
        "_decided", "_desk", "_gone", "_is_settled", "_lines_per_s", "_recorder", "_writing",
        "deadline", "has_model", "id", "outcome", "place", "run",
    )  # fmt: skip

    def __init__(self, run: Run, desk: Desk, *, has_model: bool, lines_per_s: int) -> None:
        assert run.attempt_id is not None
        assert run.attempt_at is not None
        self._desk = desk
        self._decided = False
        self._gone = False
        self._is_settled = False
        self._writing = False
        self._recorder: Recorder | None = None
        self.run = run
        self.id = run.attempt_id
        self.has_model = has_model
        self._lines_per_s = lines_per_s
        self.place: Place | None = None
        self.outcome: Done | Failed | Stopped | None = None
        spent_ms = run.executed_ms + max(0, desk.clock.now() - run.attempt_at)
        self.deadline = desk.clock.monotonic() + run.timeout_s - spent_ms / 1000

    def guard(self) -> None:
        """From here on, hear of it when the run is taken away; call it when `place` is known."""
        self._desk.engine.wakeups.guard(self.id, self.fenced)

    def recall_log(self) -> None:
        """Count the log of the attempts before against the run's limit; soon, not before the agent may speak."""
        if self.run.attempt > 1:
            self._desk.spawn(self._recall_log())

    async def _recall_log(self) -> None:
        try:
            size = await self._desk.engine.logged_bytes(self.run.id)
        except StoreUnavailable:
            return  # then this attempt may log as much as a first one
        if size:
            self.recorder.recall(size)

    # What its place tells.

    def heard(self, frame: ToParent) -> None:
        """Take what the agent said; its first outcome is the one that counts."""
        if self._decided:
            return
        match frame:
            case Done() | Failed() | Stopped():
                self.outcome = self.outcome or frame
            case Logged():
                self.recorder.log(frame.message)
            case Progressed():
                if math.isfinite(frame.progress.percentage):
                    self.recorder.progress(_sane(frame.progress))
            case Token():
                self._desk.engine.relay.publish(self.run.id, frame.text)
            case _:
                pass  # the process's own business

    def gone(self, loss: Cause) -> None:
        """Nothing of the attempt is left. Without an outcome it counts as lost, because of `loss`."""
        if self._gone:
            return
        self._gone = True
        if self._decided:
            self._over()
        else:
            self._desk.spawn(self._settle(loss))

    @property
    def recorder(self) -> Recorder:
        """Made when the agent first says something: most runs of a load test never do."""
        if self._recorder is None:
            self._recorder = Recorder(self._append, Meter(self._desk.clock, self._lines_per_s))
        return self._recorder

    @property
    def is_decided(self) -> bool:
        """Nothing more that the agent says counts."""
        return self._decided

    # What others decide over it.

    def fenced(self, run: Run | None) -> None:
        """The run (null: it is deleted) was taken from this attempt: write nothing, stop the agent.

        Also heard when we have just lost it ourselves, or while our own word on it is being written.
        """
        self._end_access()
        if not self._decided:
            self._decided = True
            self._discard_events()
            self._stop(self._desk.stop_grace_s)

    def time_up(self) -> None:
        """The run has used up its time: it fails at once, and then the agent is stopped."""
        if not self._decided and self.outcome is None:
            self._decided = True
            words = f"The run used up its {self.run.timeout_s} s of execution time."
            self._desk.spawn(self._end_by(lambda: self._fail(RunError("timeout", words), lingers=True)))

    async def leave(self) -> None:
        """This worker goes away soon: hand the run back as soon as its agent wants a further model call.

        By then it has heard, and the journal has, every answer that was on its way.
        """
        if self.has_model:
            await self._desk.access.settle(self.id, until_it_asks=True)
            await self.hand_back()

    async def hand_back(self) -> None:
        """This worker goes away: the run goes back to the queue unharmed, and then the agent is stopped."""
        if self._gone:
            self._end_access()  # it is lost, and waited for its calls in flight
        elif not self._decided and self.outcome is None:
            self._decided = True
            await self._end_by(lambda: self._desk.engine.hand_back(self.run.id, self.id))

    def abandon(self) -> None:
        """The lease is lost or about to be: stop the agent now, write nothing."""
        self._decided = True
        self._discard_events()
        self._end_access()
        self._stop(0)

    def _over(self) -> None:
        self._desk.engine.wakeups.unguard(self.id)
        self._desk.on_over(self)
        self._reap()

    def _written(self) -> None:
        self._writing = False
        self._reap()

    def _reap(self) -> None:
        """Say that nothing is left, if its run has lanes in which others may wait for just that.

        Not while its end is being written: it would be said before there is anything to free.
        """
        if self.run.lanes and self._gone and not self._writing and not self._is_settled:
            self._is_settled = True
            self._desk.spawn(self._desk.lease.insist(lambda: self._desk.engine.reap(self.id)))

    def _discard_events(self) -> None:
        if self._recorder is not None:
            self._recorder.discard()

    def _stop(self, grace_s: float) -> None:
        if not self._gone and self.place is not None:
            self.place.stop(self.id, grace_s=grace_s)

    def _end_access(self) -> None:
        """Take the model away; calls in flight are cut."""
        if self.has_model:
            self._desk.access.revoke(self.id)

    # How it is written.

    async def _settle(self, loss: Cause) -> None:
        try:
            if self._recorder is not None:
                await self._recorder.close()
            if self.has_model and not isinstance(self.outcome, Done | Failed):
                await self._desk.access.settle(self.id)
            if not self._decided:
                self._decided = True
                self._is_settled = await self._write_end(lambda: self._write_outcome(loss))
        finally:
            self._over()

    async def _end_by(self, write: Callable[[], Awaitable[Run]]) -> None:
        """Write the run's fate, then stop the agent; soon, even if the store is away."""
        self._writing = True
        late = asyncio.get_running_loop().call_later(UNWRITTEN_S, self._stop, self._desk.stop_grace_s)
        try:
            if self._recorder is not None:
                await self._recorder.close()
            await self._write_end(write)
        finally:
            late.cancel()
            self._stop(self._desk.stop_grace_s)
            self._written()

    async def _write_end(self, write: Callable[[], Awaitable[Run]]) -> bool:
        """Whether it was ours to write."""
        try:
            run = await self._desk.lease.insist(write)
        except Exception as error:
            log.error("the end of an attempt could not be written", exc=error, run_id=self.run.id)
            words = "Outlast could not store the run's outcome; its log says why."
            run = await self._desk.lease.insist(
                lambda: self._fail(RunError("internal_error", words), lingers=not self._gone)
            )
        self._end_access()
        return run is not None

    def _write_outcome(self, loss: Cause) -> Awaitable[Run]:
        match self.outcome:
            case Done(result=result):
                return self._desk.engine.succeed(self.run, self.id, result)
            case Failed(code=code, message=message):
                if code in _MODEL_MAY_BE_WHY:
                    message = self._with_reason(message)
                return self._fail(RunError(code, message), retryable=code not in _NOT_RETRYABLE)
            case _:
                return self._desk.engine.lose(self.run.id, self.id, loss)

    def _with_reason(self, message: str) -> str:
        reason = self._desk.access.reason(self.id) if self.has_model else None
        return (
            message
            if reason is None
            else f"{message} Its last model call failed: {presentable(reason, 2000)}"
        )

    def _fail(self, error: RunError, *, retryable: bool = False, lingers: bool = False) -> Awaitable[Run]:
        return self._desk.engine.fail(self.run.id, self.id, error, retryable=retryable, lingers=lingers)

    async def _append(self, drafts: Sequence[Draft], progress: Progress | None) -> None:
        stored = await self._desk.lease.insist(
            lambda: self._desk.engine.append(self.run.id, self.id, drafts, progress)
        )
        if stored is None:
            self._discard_events()


def _sane(progress: Progress) -> Progress:
    """What an agent reports, within what is reported: 0 to 100, and a short name for the step."""
    step = progress.current_step
    return msgspec.structs.replace(
        progress,
        percentage=min(100.0, max(0.0, progress.percentage)),
        current_step=None if step is None else presentable(step, STEP_MAX),
    )
