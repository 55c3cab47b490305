"""Who may call a model: one token for each attempt, good while the attempt holds its run.

A token carries its attempt's id and a signature of this process, so that one whose attempt is over can be told from a
made-up one without remembering it. Nothing of it outlives the process.
"""

import asyncio
import hmac
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import msgspec

from outlast.gateway.memory import Memory
from outlast.gateway.purse import Purse
from outlast.gateway.room import Room
from outlast.runs import Run

MAX_IN_FLIGHT = 64
"""Calls of one attempt at one time."""
_REASONS_KEPT = 1000
_PREFIX = "sk-outlast-"
"""Some agents want keys to look like OpenAI's."""


class Grant(msgspec.Struct, frozen=True):
    """What an agent gets to reach a model with."""

    base_url: str
    token: str


class Holder:
    """An attempt that may call, and its calls in flight."""

    def __init__(self, run: Run, attempt_id: str, model: str | None, holds: Callable[[], bool]) -> None:
        self.run_id = run.id
        self.tenant = run.tenant
        self.generation = run.generation
        self.attempt_id = attempt_id
        self.model = model
        """What the name `default` means for this run."""
        self.places = Room(MAX_IN_FLIGHT)
        """For its calls; what comes on top waits."""
        self.calls: set[asyncio.Task[None]] = set()
        """Each has an agent to answer."""
        self.flights: set[asyncio.Task[None]] = set()
        """The answers that are on their way, whether or not an agent still waits for them."""
        self._held: set[asyncio.Task[None]] = set()
        """Those that may not go out yet: nobody waits for them."""
        self.purse = Purse(run)
        """What the run may still use."""
        self.memory: asyncio.Task[Memory] | None = None
        """What it knows of its calls and of those before it; read at the first call."""
        self._holds = holds
        self._is_settling = False
        self._is_ended = False
        self._wants_more = asyncio.Event()
        self._end = asyncio.Event()

    @property
    def is_over(self) -> bool:
        """The attempt may call no more, or not now; what it has in flight may still be there."""
        return self._is_ended or not self._holds()

    async def may_begin(self) -> bool:
        """Whether a call may begin. While the calls in flight are awaited for the last time, none does, nor is any
        refused: the agent shall not fail for what is about to happen to its run."""
        if self._is_settling and not self._is_ended:
            self._wants_more.set()
            await self._end.wait()
        return not self.is_over

    async def settle(self, *, until_it_asks: bool) -> None:
        """Let no further call begin, and wait until none is in flight, or one wants to be and none is in flight."""
        self._is_settling = True
        if until_it_asks:
            await self._wants_more.wait()
        while self.flights:
            await asyncio.wait(tuple(self.flights))

    @contextmanager
    def held(self) -> Iterator[None]:
        """The flight whose task this is does not go out before the end of the block."""
        task = asyncio.current_task()
        assert task in self.flights, "only a flight can be held"
        self.flights.discard(task)
        self._held.add(task)
        try:
            yield
        finally:
            self._held.discard(task)
            self.flights.add(task)

    def end(self) -> None:
        """From here on it may call no more."""
        self._is_ended = True
        self._wants_more.set()
        self._end.set()

    def cut(self) -> None:
        """Abort the calls in flight; their connections to the provider are closed at once."""
        for task in (*self.flights, *self._held, *self.calls):
            task.cancel()
        if self.memory is not None:
            self.memory.cancel()


class Grants:
    """The tokens of one gateway, and those who hold them."""

    def __init__(self) -> None:
        self._secret = os.urandom(32)
        self._holders: dict[str, Holder] = {}
        self._reasons: dict[str, str] = {}

    def issue(self, run: Run, attempt_id: str, model: str | None, holds: Callable[[], bool]) -> str:
        """A token for this attempt, good while its worker `holds` its lease; asked twice, the same one."""
        self._holders.setdefault(attempt_id, Holder(run, attempt_id, model, holds))
        return self._token(attempt_id)

    async def settle(self, attempt_id: str, *, until_it_asks: bool) -> None:
        """`Holder.settle`; of an attempt that has ended there is nothing to wait for."""
        holder = self._holders.get(attempt_id)
        if holder is not None:
            await holder.settle(until_it_asks=until_it_asks)

    def end(self, attempt_id: str) -> None:
        """From here on the token is refused; calls in flight are cut."""
        holder = self._holders.pop(attempt_id, None)
        if holder is not None:
            holder.end()
            holder.cut()

    def end_all(self) -> None:
        """Nobody may call any more, and every call in flight is cut."""
        for attempt_id in tuple(self._holders):
            self.end(attempt_id)

    def attempt(self, token: str) -> str | None:
        """Whose token this is or was; None when this gateway never gave it out."""
        attempt_id = token.removeprefix(_PREFIX).rpartition("-")[0]
        return attempt_id if hmac.compare_digest(token.encode(), self._token(attempt_id).encode()) else None

    def holder(self, attempt_id: str) -> Holder | None:
        """The attempt, while it may call."""
        holder = self._holders.get(attempt_id)
        return holder if holder is not None and not holder.is_over else None

    def blame(self, holder: Holder, reason: str) -> None:
        """Remember why a call of this attempt failed, also for a while after the attempt."""
        self._reasons.pop(holder.attempt_id, None)
        self._reasons[holder.attempt_id] = reason
        if len(self._reasons) > _REASONS_KEPT:
            del self._reasons[next(iter(self._reasons))]

    def reason(self, attempt_id: str) -> str | None:
        """Why the last call of this attempt that failed did so."""
        return self._reasons.get(attempt_id)

    def _token(self, attempt_id: str) -> str:
        signature = hmac.digest(self._secret, attempt_id.encode(), "sha256").hex()[:32]
        return f"{_PREFIX}{attempt_id}-{signature}"
