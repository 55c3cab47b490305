"""Random histories of verbs on a real store, beside a model of a few lines; the store is closed and reopened midway."""

import asyncio
import shutil
import tempfile
from collections import Counter
from collections.abc import Coroutine
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)

from outlast.engine import Engine
from outlast.errors import IdempotencyConflict, OutlastError
from outlast.runs import Draft, EventKind, JournalMode, Retry, RunError, RunStatus
from outlast.store.lanes import Limits
from outlast.store.protocol import Page, RunFilter
from outlast.transitions import Cause
from tests.journal_factory import canonical, finished, record
from tests.postgres import Postgres
from tests.room import room
from tests.runs_factory import ME, claim, new_run
from tests.store.conftest import BOTH, Either
from tests.store.lane_model import AGENT_LIMIT, SESSION_LIMIT, TENANT_LIMIT, LaneModel

T = TypeVar("T")
Held = tuple[str, str]
"""A run and the attempt that was given it."""


class StoreMachine(RuleBasedStateMachine):
    """The model: each run's status, who holds it, and which key it has."""

    runs = Bundle("runs")
    held = Bundle("held")

    server: Postgres | None = None
    """Null for SQLite."""

    def __init__(self) -> None:
        super().__init__()
        self._folder = Path(tempfile.mkdtemp(dir=room()))
        self._runner = asyncio.Runner()
        self._kept = Either(self._folder, self.server)
        self._clock = self._kept.clock
        self._workers = 1
        self._open()
        self.status: dict[str, RunStatus] = {}
        self.holder: dict[str, str] = {}
        self.keys: dict[str, tuple[str, bytes]] = {}
        self.lanes = LaneModel()
        self.journals: dict[str, list[str]] = {}
        """The calls that each run's next attempt is to find: each with one message."""
        self.fresh: set[str] = set()

    def _run(self, work: Coroutine[object, object, T]) -> T:
        return self._runner.run(work)

    def _open(self) -> None:
        self._store = self._kept.make()
        self._run(self._store.open())
        limits = Limits(SESSION_LIMIT, TENANT_LIMIT, {"x": AGENT_LIMIT})
        self._engine = Engine(self._store, self._clock, limits)

    def teardown(self) -> None:
        self._run(self._store.close())
        self._run(self._kept.check())
        self._runner.close()
        shutil.rmtree(self._folder)
        if self.server is not None:
            self.server.drop(self._kept.url or "")

    @rule(
        target=runs,
        session=st.sampled_from([None, "a", "b"]),
        agent=st.sampled_from([None, "x"]),
        journal=st.sampled_from([JournalMode.RESUME, JournalMode.RESUME, JournalMode.FRESH]),
    )
    def submit(self, session: str | None, agent: str | None, journal: JournalMode) -> str:
        new = new_run(session_id=session, agent=agent, retry=Retry(2, 0, journal))
        run = self._run(self._engine.submit(ME, new)).run
        if journal is JournalMode.FRESH:
            self.fresh.add(run.id)
        self.status[run.id] = RunStatus.QUEUED
        self.lanes.enter(run.id, session, agent)
        return run.id

    @rule(key=st.sampled_from("kl"), body=st.sampled_from([b"1", b"2"]))
    def submit_with_key(self, key: str, body: bytes) -> None:
        known = self.keys.get(key)
        verb = self._engine.submit(ME, new_run(key=key, body=body))
        if known is not None and known[1] != body:
            with pytest.raises(IdempotencyConflict, match=known[0]):
                self._run(verb)
            return
        submitted = self._run(verb)
        assert submitted.replayed == (known is not None)
        assert known in (None, (submitted.run.id, body))
        if known is None:
            self.keys[key] = (submitted.run.id, body)
            self.status[submitted.run.id] = RunStatus.QUEUED
            self.lanes.enter(submitted.run.id, None, None)

    @rule(target=held, limit=st.integers(1, 3))
    def claim(self, limit: int) -> object:
        claimed = self._run(claim(self._engine, limit, f"worker_{self._workers}"))
        queued = [run_id for run_id, status in self.status.items() if status is RunStatus.QUEUED]
        ready = sorted(run_id for run_id in queued if not self.lanes.waits(run_id))
        assert [taken.run.id for taken in claimed] == ready[:limit]
        for taken in claimed:
            assert self.status[taken.run.id] is RunStatus.QUEUED
            self.status[taken.run.id] = RunStatus.RUNNING
            self.holder[taken.run.id] = taken.run.attempt_id or ""
        return multiple(*[(taken.run.id, taken.run.attempt_id or "") for taken in claimed])

    def _try(self, held: Held, verb: Coroutine[object, object, object]) -> bool:
        """Whether the attempt still held the run; the store must agree."""
        holds = self.holder.get(held[0]) == held[1]
        try:
            self._run(verb)
        except OutlastError:
            assert not holds
            return False
        assert holds
        return True

    @rule(held=held, n=st.integers(1, 3))
    def append(self, held: Held, n: int) -> None:
        self._try(held, self._engine.append(*held, [Draft(EventKind.LOG, b"{}")] * n))

    @rule(held=held, text=st.sampled_from("pqr"))
    def record_call(self, held: Held, text: str) -> None:
        run = self._run(self._engine.head(held[0]))
        if run is not None and self._try(held, record(self._engine, run, finished(text), held[1])):
            known = self.journals.setdefault(held[0], [])
            known += [text] if text not in known else []
            self._find_journal(held[0])

    @precondition(lambda self: self.holder)
    @rule(n=st.integers(0, 2))
    def fail_and_retry(self, n: int) -> None:
        """On a new answer, the first time; the second is the last."""
        held = sorted(self.holder.items())[n % len(self.holder)]
        self.record_call(held, "s")
        run = self._run(self._engine.head(held[0]))
        if run is None or run.failures > 0 or run.retry.max_attempts == 1:
            return
        verb = self._engine.fail(*held, RunError("agent_error", "no"), retryable=True)
        if self._try(held, verb):
            del self.holder[held[0]]
            self.status[held[0]] = RunStatus.QUEUED
            self.journals[held[0]] = [] if held[0] in self.fresh else self.journals.get(held[0], [])[:-1]
            self._clock.advance(0.001)
            self._run(self._engine.recover())
            self._find_journal(held[0])

    @rule(target=runs, run_id=runs, mode=st.sampled_from(JournalMode))
    def fork(self, run_id: str, mode: JournalMode) -> object:
        try:
            old = self._run(self._engine.get(ME, run_id))
            run = self._run(self._engine.retry(ME, run_id, mode)).run
        except OutlastError:
            assert self.status.get(run_id) in (None, RunStatus.QUEUED, RunStatus.RUNNING)
            return multiple()
        known = self.journals.get(run_id, [])
        agents_fault = old.error is not None and old.error.code == "agent_error"
        self.journals[run.id] = (
            [] if mode is JournalMode.FRESH else known[:-1] if agents_fault else list(known)
        )
        self.status[run.id] = RunStatus.QUEUED
        self.fresh |= {run.id} if run_id in self.fresh else set()
        self.lanes.enter(run.id, run.session_id, run.agent)
        self._find_journal(run.id)
        return run.id

    def _find_journal(self, run_id: str) -> None:
        run = self._run(self._engine.get(ME, run_id))
        found = self._run(self._engine.journals.read(run_id, run.generation))
        asked = [self._run(self._engine.journals.asked(run.tenant, call)) for call in found.calls]
        assert asked == [canonical(text) for text in self.journals.get(run_id, [])]

    @rule(held=held, succeeds=st.booleans())
    def finish(self, held: Held, succeeds: bool) -> None:
        run_id, attempt_id = held
        if run_id not in self.status:
            return
        run = self._run(self._engine.get(ME, run_id))
        verb = (
            self._engine.succeed(run, attempt_id, b"1")
            if succeeds
            else self._engine.fail(run_id, attempt_id, RunError("agent_error", "no"))
        )
        if self._try(held, verb):
            del self.holder[run_id]
            self.status[run_id] = RunStatus.SUCCEEDED if succeeds else RunStatus.FAILED
            self.lanes.leave(run_id)

    @rule(held=held, hands_back=st.booleans())
    def release(self, held: Held, hands_back: bool) -> None:
        verb = self._engine.hand_back(*held) if hands_back else self._engine.lose(*held, Cause.WORKER)
        if self._try(held, verb):
            del self.holder[held[0]]
            self.status[held[0]] = self._run(self._engine.get(ME, held[0])).status
            if self.status[held[0]] is RunStatus.FAILED and hands_back:
                self.lanes.linger(*held)
            elif self.status[held[0]] is RunStatus.FAILED:
                self.lanes.leave(held[0])

    @rule(held=held)
    def reap(self, held: Held) -> None:
        self._run(self._engine.reap(held[1]))
        self.lanes.leave(held[1])

    @rule(run_id=runs)
    def cancel(self, run_id: str) -> None:
        ended = self.status.get(run_id) not in (RunStatus.QUEUED, RunStatus.RUNNING)
        try:
            self._run(self._engine.cancel(ME, run_id))
        except OutlastError:
            assert ended
            return
        assert not ended
        self.status[run_id] = RunStatus.CANCELLED
        attempt_id = self.holder.pop(run_id, None)
        if attempt_id is not None:
            self.lanes.linger(run_id, attempt_id)
        else:
            self.lanes.leave(run_id)

    @rule(run_id=consumes(runs))
    def delete(self, run_id: str) -> None:
        try:
            self._run(self._engine.delete(ME, run_id))
        except OutlastError:
            assert self.status[run_id] in (RunStatus.QUEUED, RunStatus.RUNNING)
            return
        del self.status[run_id]
        self.journals.pop(run_id, None)

    @rule()
    def lease_ends(self) -> None:
        self._clock.advance(31)
        self._lose_all()

    @rule()
    def server_restarts(self) -> None:
        self._run(self._store.close())
        self._clock.advance(
            0.001
        )  # ids made after a restart sort after those from before, if time has passed
        self._open()
        if self.server is not None:
            self._clock.advance(31)  # others may share the store: a lease lasts as long as it was given
        self._lose_all()

    def _lose_all(self) -> None:
        self._run(self._engine.recover())
        self._workers += 1
        self.lanes.remove_attempts()
        for run_id in self.holder:
            self.status[run_id] = self._run(self._engine.get(ME, run_id)).status
            assert self.status[run_id] is not RunStatus.RUNNING
            if self.status[run_id] is RunStatus.FAILED:
                self.lanes.leave(run_id)
        self.lanes.settle()
        self.holder.clear()

    @invariant()
    def the_store_agrees(self) -> None:
        listing = self._run(self._engine.list_runs(ME, RunFilter(), Page(size=100)))
        assert {run.id: run.status for run in listing.runs} == self.status
        counts = self._run(self._engine.counts(ME))
        assert {status: n for status, n in counts.items() if n} == Counter(self.status.values())


@pytest.mark.parametrize("kind", BOTH)
def test_random_histories_leave_what_the_model_says(kind: str, request: pytest.FixtureRequest) -> None:
    StoreMachine.server = request.getfixturevalue("postgres") if kind == "postgres" else None

    run_state_machine_as_test(StoreMachine, settings=FEWER if kind == "postgres" else SETTINGS)


SETTINGS = settings(
    max_examples=15,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
FEWER = settings(SETTINGS, max_examples=10)
"""A step there is a round trip or several."""
