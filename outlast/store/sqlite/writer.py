"""The one thread that writes: it collects what arrived while the last commit ran, commits once, then answers.

An error of SQLite refuses the whole batch; an error of another kind has it tried again one op at a time, so that a
single bad op cannot take its neighbours with it.
"""

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence

import msgspec

from outlast import telemetry
from outlast.clock import Clock
from outlast.errors import StoreUnavailable
from outlast.runs import Run
from outlast.store.lanes import Limits
from outlast.store.sqlite.batch import Transaction
from outlast.store.sqlite.heads import HEADS_MAX
from outlast.store.sqlite.ops import Answer, Op
from outlast.store.sqlite.turns import NEVER, Mark, Turns
from outlast.transitions import Transition

BATCH_MAX = 2000

log = telemetry.get("store")


class _Handed(msgspec.Struct, frozen=True):
    op: Op
    future: "asyncio.Future[Answer]"


class Committed(msgspec.Struct, frozen=True):
    """What a transaction changed, with whether the run is deleted, and the moments before and after its turn."""

    transitions: list[tuple[Transition, bool]]
    before: Mark
    after: Mark


class Writer:
    """Owns the writing connection and the heads of the runs it wrote last."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        clock: Clock,
        turns: Turns,
        on_commit: Callable[[Committed], None],
        limits: Callable[[], Limits],
    ) -> None:
        self._db = connection
        self._clock = clock
        self._turns = turns
        self._heads: dict[str, Run] = {}
        self._left = NEVER
        self._stopped = False
        self._queue: queue.SimpleQueue[_Handed | None] = queue.SimpleQueue()
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._work, name="outlast-writer", daemon=True)
        self._on_commit = on_commit
        self._refused = 0
        self.refusing: str | None = None
        """Why the last commit failed; None if it did not."""
        self._limits = limits

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Commit what was handed in, then end the thread."""
        self._stopped = True
        self._queue.put(None)
        self._thread.join()

    async def do(self, op: Op) -> Answer:
        """Hand in a write; returns after its commit. Cancelling the caller does not undo it."""
        if self._stopped:
            raise StoreUnavailable("The server is stopping; nothing was written. Try again once it is back.")
        future: asyncio.Future[Answer] = self._loop.create_future()
        self._queue.put(_Handed(op, future))
        return await future

    def _work(self) -> None:
        going = True
        while going:
            batch, going = self._collect()
            if batch:
                self._write(batch)

    def _collect(self) -> tuple[list[_Handed], bool]:
        batch: list[_Handed] = []
        handed = self._queue.get()
        while handed is not None:
            batch.append(handed)
            if len(batch) >= BATCH_MAX or self._queue.empty():
                return batch, True
            handed = self._queue.get()
        return batch, False

    def _write(self, batch: list[_Handed]) -> None:
        try:
            answers, committed = self._transact([handed.op for handed in batch])
        except sqlite3.OperationalError as error:
            self._note_refusal(str(error), len(batch))
            unavailable = StoreUnavailable(
                f"The store could not commit: {error}. Nothing was accepted; try again."
            )
            self._answer([(handed, unavailable) for handed in batch])
        except Exception as error:
            if len(batch) > 1:
                for handed in batch:
                    self._write([handed])
            else:
                log.error("write refused by the database", exc=error)
                self._answer([(batch[0], error)])
        else:
            if self.refusing is not None:
                self._note_recovery()
            self._answer(list(zip(batch, answers, strict=True)), committed)

    def _transact(self, ops: Sequence[Op]) -> tuple[list[Answer], Committed]:
        """One transaction, in our turn."""
        before = self._turns.take()
        self._forget(before)
        changed: list[str] | None = None
        try:
            now, limits = self._clock.now(), self._limits()
            answers, transitions = Transaction(self._db, now, self._heads, limits).run(ops)
            self._remember(transitions)
            changed = list({transition.run.id for transition, _ in transitions})
        finally:
            after = self._turns.end(changed)
            self._left = NEVER if changed is None else after
        return answers, Committed(transitions, before, after)

    def _forget(self, now: Mark) -> None:
        """What others have changed since our last turn."""
        changed = self._turns.changed(self._left, now)
        if changed is None:
            self._heads.clear()
        else:
            for run_id in changed:
                self._heads.pop(run_id, None)

    def _note_refusal(self, reason: str, writes: int) -> None:
        """Say it once: a full disk refuses commits by the hundred, and may be where the log goes too."""
        if reason != self.refusing:
            log.error("commits fail", reason=reason, writes=writes)
        self.refusing = reason
        self._refused += 1

    def _note_recovery(self) -> None:
        log.warning("commits work again", refused=self._refused)
        self.refusing, self._refused = None, 0

    def _remember(self, transitions: Sequence[tuple[Transition, bool]]) -> None:
        for transition, deleted in transitions:
            self._heads.pop(transition.run.id, None)
            if not deleted:
                self._heads[transition.run.id] = transition.run
        while len(self._heads) > HEADS_MAX:
            del self._heads[next(iter(self._heads))]

    def _answer(self, answers: list[tuple[_Handed, Answer]], committed: Committed | None = None) -> None:
        self._loop.call_soon_threadsafe(self._answer_on_loop, answers, committed)

    def _answer_on_loop(self, answers: list[tuple[_Handed, Answer]], committed: Committed | None) -> None:
        try:
            if committed is not None:
                self._on_commit(committed)
        except Exception as error:  # what is committed has to be answered for, whoever else trips over it
            log.error("a listener broke", exc=error)
        for handed, answer in answers:
            if handed.future.done():
                continue
            if isinstance(answer, Exception):
                handed.future.set_exception(answer)
            else:
                handed.future.set_result(answer)
