"""Who is told what, in this process, after a commit: streams, waiters, the worker, the webhook deliverer.

Commits of this process come with all they changed; of those of other processes it is only known that they were, so
whoever hears of one has to ask the store.

Nothing here is durable and nothing may be relied on for correctness: a wake-up that is lost costs time, never a
run. Everything happens on the event loop's thread.
"""

import asyncio
from collections import defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Self

from outlast.runs import TAKEN, Event, Run, RunState
from outlast.store.protocol import Rung
from outlast.transitions import Transition

BACKLOG = 512
"""Events and token deltas a watcher may fall behind by; what it missed of the events, the store still has."""

UNTOLD = 1000
"""Taken attempts remembered for a guard that comes late."""


class Bell:
    """Something may have changed: ring it from anywhere, wait for it in one loop."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def ring(self) -> None:
        self._event.set()

    async def wait(self, timeout_s: float | None = None) -> bool:
        """Until the bell rings; False if `timeout_s` passed first. A ring while nobody waits is kept."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._event.wait()
        except TimeoutError:
            return False
        self._event.clear()
        return True


class Watch:
    """One reader's view of one run as it changes: a context manager; outside of it nothing is collected."""

    def __init__(self, wakeups: "Wakeups", run_id: str, *, tokens: bool) -> None:
        self._wakeups = wakeups
        self._bell = Bell()
        self.run_id = run_id
        self.wants_tokens = tokens
        self.run: Run | None = None
        """The newest head heard of, null before the first change."""
        self._is_stale = False
        self._events: deque[Event] = deque(maxlen=BACKLOG)
        self._tokens: deque[str] = deque(maxlen=BACKLOG)

    def __enter__(self) -> Self:
        self._wakeups.watches[self.run_id].add(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        watches = self._wakeups.watches
        watches[self.run_id].discard(self)
        if not watches[self.run_id]:
            self._wakeups.forget(self.run_id)

    def hear(self, run: Run, events: Sequence[Event]) -> None:
        self.run = run
        self._events.extend(events)
        self._bell.ring()

    def hear_token(self, text: str) -> None:
        self._tokens.append(text)
        self._bell.ring()

    def hear_nothing(self) -> None:
        """Wake the reader without news: the server is about to close its stream."""
        self._bell.ring()

    def hear_of_change(self) -> None:
        """The run was changed by another process: `run` and the events heard are no longer the newest."""
        self._is_stale = True
        self._bell.ring()

    def take_stale(self) -> bool:
        """Whether the store has to be asked for what is new since the last call."""
        was_stale, self._is_stale = self._is_stale, False
        return was_stale

    def take_events(self) -> list[Event]:
        """What was heard since the last call. A gap in the numbers means: ask the store."""
        taken = list(self._events)
        self._events.clear()
        return taken

    def take_tokens(self) -> list[str]:
        """Token deltas since the last call; lossy by design."""
        taken = list(self._tokens)
        self._tokens.clear()
        return taken

    async def wait(self, timeout_s: float | None = None) -> bool:
        """Until something was heard since the last wait; False if `timeout_s` passed first."""
        return await self._bell.wait(timeout_s)


OnFenced = Callable[[Run], None]


class Wakeups:
    """The bells of one process."""

    def __init__(self) -> None:
        self.work = Bell()
        """A run became ready to claim."""
        self.outbox = Bell()
        """A webhook notice was written."""
        self.schedules = Bell()
        """A schedule was changed."""
        self.doubt = Bell()
        """A run may have been taken from this worker without a word of its own."""
        self._seqs: dict[str, int] = {}
        """The number of the last event heard of, for runs that are watched."""
        self.watches: defaultdict[str, set[Watch]] = defaultdict(set)
        self._attempts: dict[str, OnFenced] = {}
        self._untold: dict[str, Run] = {}

    def watch(self, run_id: str, *, tokens: bool = False) -> Watch:
        """Follow one run; use as a context manager, and read the store's state inside it, not before."""
        return Watch(self, run_id, tokens=tokens)

    def forget(self, run_id: str) -> None:
        """Nobody watches the run any more."""
        del self.watches[run_id]
        self._seqs.pop(run_id, None)

    def guard(self, attempt_id: str, on_fenced: OnFenced) -> None:
        """Call `on_fenced` once if the run is taken from this attempt by someone else (a cancel, a lost lease).

        Also if that happened already, between the claim's commit and this call.
        """
        run = self._untold.pop(attempt_id, None)
        if run is not None:
            on_fenced(run)
        else:
            self._attempts[attempt_id] = on_fenced

    def unguard(self, attempt_id: str) -> None:
        self._attempts.pop(attempt_id, None)

    def publish(self, transitions: Sequence[Transition]) -> None:
        """Tell everybody about committed transitions, in their order."""
        for transition in transitions:
            run = transition.run
            if run.id in self.watches:
                self._seqs[run.id] = run.seq
                for watch in self.watches[run.id]:
                    watch.hear(run, transition.events)
            if run.state is RunState.QUEUED and run.ready:
                self.work.ring()
            if transition.notice is not None:
                self.outbox.ring()
            if transition.attempt is not None and transition.attempt.end in TAKEN:
                self._tell_attempt(transition.attempt.id, run)

    def rung(self, rungs: Sequence[Rung]) -> None:
        """Tell everybody whom it concerns that other processes have changed runs."""
        for rung in rungs:
            for watch in self.watches.get(rung.run_id, ()):
                watch.hear_of_change()
            if rung.is_ready:
                self.work.ring()
            if rung.has_notice:
                self.outbox.ring()
            if rung.taken_from in self._attempts:
                self.doubt.ring()

    def missed(self, seqs: Mapping[str, int]) -> None:
        """Some rungs may not have come: look for work, and compare what is watched with the store's event numbers."""
        for bell in (self.work, self.outbox, self.doubt):
            bell.ring()
        for run_id, seq in seqs.items():
            if run_id in self.watches and self._seqs.get(run_id) != seq:
                self._seqs[run_id] = seq
                for watch in self.watches[run_id]:
                    watch.hear_of_change()

    def publish_token(self, run_id: str, text: str) -> None:
        """A piece of model output, for whoever watches right now."""
        for watch in self.watches.get(run_id, ()):
            if watch.wants_tokens:
                watch.hear_token(text)

    def wanting_tokens(self) -> list[str]:
        """The runs whose deltas somebody watches."""
        return [run_id for run_id, watches in self.watches.items() if any(w.wants_tokens for w in watches)]

    def wake_all(self) -> None:
        """Let every watcher look up: the server is draining."""
        for watches in self.watches.values():
            for watch in watches:
                watch.hear_nothing()

    def _tell_attempt(self, attempt_id: str, run: Run) -> None:
        on_fenced = self._attempts.pop(attempt_id, None)
        if on_fenced is not None:
            on_fenced(run)
            return
        self._untold[attempt_id] = run
        if len(self._untold) > UNTOLD:
            del self._untold[next(iter(self._untold))]
