"""The lane of everything that changes a run: one transaction a batch.

The heads of the touched runs are locked in the order of their ids, each op is decided in `store.plan` on what the ones
before it left, all of it is written in one statement, and committed. What one op refuses is its own answer.
"""

from collections.abc import Iterator, Sequence

from outlast.clock import random_id
from outlast.errors import OutlastError
from outlast.runs import Run
from outlast.store import rows
from outlast.store.lanes import Limits
from outlast.store.ops import LOST_KEPT_MS, Apply, LimitSession, Reap, Recover
from outlast.store.plan import KeyPlace, Plan, key_place
from outlast.store.postgres import journal, steps
from outlast.store.postgres.connection import Link
from outlast.store.postgres.lanes import LaneRows
from outlast.store.postgres.statements import sql
from outlast.store.postgres.submits import insert, what_is_in_the_way
from outlast.store.postgres.turn import turn
from outlast.store.postgres.writer import Answer, Collision, CommitUnknown, Outcome
from outlast.store.postgres.written import written
from outlast.store.protocol import Claimed, Offer, Submit, Submitted, Turn
from outlast.store.rows import Cells
from outlast.transitions import Cause, Claim, Command, Due, Lose, Transition

Op = Submit | Apply | Offer | Turn | Recover | Reap | LimitSession
Found = Sequence[Cells]

BEGIN = "BEGIN; SET LOCAL synchronous_commit = on"
"""Said in every transaction too: a pooler may have given us a connection that somebody else has set up."""


class Transaction:
    """One batch: hold what it touches, decide everything, write it set-wise, commit."""

    def __init__(self, link: Link, shard: int, limits: Limits, *, looks: bool) -> None:
        """With `looks` it looks for runs with lanes before it locks any."""
        self._link = link
        self._shard = shard
        self._looks = looks
        self._now = 0
        self._lanes = LaneRows(link, limits)
        self._ready: list[Found] = []
        self._orphans: Found = []
        self._due: Found = []
        self._taken: dict[str, Run] = {}
        self.claimed: dict[str, str] = {}
        """The attempts that began here."""
        self.has_left = False
        """Whether runs were held for a moment and then not taken."""

    async def run(self, ops: Sequence[Op]) -> Outcome:
        await self._link.execute(BEGIN)
        try:
            answers = await self._do(ops)
        except BaseException:
            await _roll_back(self._link)
            raise
        try:
            await self._link.execute("COMMIT")
        except Exception as error:
            raise CommitUnknown from error
        # Those of a run deleted in the same commit too: its agent and its readers have to hear of its end.
        gone = [Transition(run) for run in self._plan.deleted.values()]
        return Outcome(answers, [*self._plan.transitions, *gone])

    async def _do(self, ops: Sequence[Op]) -> list[Answer]:
        submits = list(_submits(ops))
        new = [submit.run for submit in submits]
        recovering = [op for op in ops if isinstance(op, Recover)]
        recovered = await self._begin_recovery(recovering) if recovering else []
        await self._lanes.lock(new, ops, recovered, looks=self._looks)
        heads = await self._hold(ops)
        in_lanes = await self._lanes.load(new, ops, heads.values())
        self._plan = Plan(heads, await self._keys(submits), self._now, *in_lanes)
        self._plan.know(rows.read(row) for found in self._ready for row in found)
        self._plan.know_steps(await steps.load(self._link, _commands(ops), heads))
        if recovering:
            await self._recover_lanes(is_first=any(op.is_first for op in recovering))
        offers = iter(self._ready)
        answers = [await self._decide(op, offers) for op in ops]
        await self._lanes.settle(self._plan)
        await self._write()
        return answers

    # What it holds.

    async def _hold(self, ops: Sequence[Op]) -> dict[str, Run]:
        """Lock all that the ops will touch, and learn the time."""
        heads: dict[str, Run] = {}
        wanted = {op.run_id for op in ops if isinstance(op, Apply)}
        wanted |= {new.fork.run_id for new in _submits(ops) if new.fork is not None}
        for op in ops:
            if isinstance(op, LimitSession):
                wanted |= await self._lanes.unlimited(op.key)
        if wanted or not self._now:
            found = await self._link.fetch(sql("lock_heads"), list(wanted))
            self._now = max(self._now, found[-1][rows.HEAD_WIDTH])
            heads = {row[0]: rows.read(row) for row in found if row[0] is not None}
        taken = list(wanted)
        for op in ops:
            if isinstance(op, Offer):
                taken += await self._hold_ready(op, taken)
        if any(isinstance(op, Recover) for op in ops):
            self._orphans = await self._link.fetch(sql("select_orphans"))
            self._due = await self._link.fetch(sql("select_due"), self._now)
        return heads

    async def _hold_ready(self, offer: Offer, taken: list[str]) -> list[str]:
        queues = None if offer.queues is None else list(offer.queues)
        wanted = offer.kind.value, list(offer.runners), queues, offer.limit, taken
        found = await self._link.fetch(sql("select_ready"), *wanted)
        self._ready.append(found)
        if found:
            self._now = max(self._now, found[-1][rows.HEAD_WIDTH + 2])
            self.has_left = self.has_left or found[0][rows.HEAD_WIDTH + 3] > len(found)
        return [row[0] for row in found]

    async def _keys(self, submits: Sequence[Submit]) -> dict[KeyPlace, Run]:
        self._taken = await what_is_in_the_way(self._link, submits) if submits else {}
        return {place: run for run in self._taken.values() if (place := key_place(run)) is not None}

    # What it decides.

    async def _decide(self, op: Op, offers: Iterator[Found]) -> Answer:
        try:
            match op:
                case Submit():
                    return self._submit(op)
                case Apply():
                    return self._plan.apply(op.run_id, op.command, op.tenant)
                case Offer():
                    return await self._claim(op, next(offers))
                case Turn():
                    return await turn(self._link, self._plan, op)
                case Recover():
                    return self._recover()
                case Reap():
                    self._plan.reap(op.attempt_id)
                    return None
                case LimitSession():
                    self._plan.limit_session(op.key, op.max_running)
                    self._plan.enrol(op.key)
                    return None
        except OutlastError as refusal:
            return refusal

    def _submit(self, op: Submit) -> Submitted:
        known = self._taken.get(op.run.id) or self._plan.head(op.run.id)
        return self._plan.submit(op) if known is None else Submitted(known)

    async def _claim(self, offer: Offer, found: Found) -> list[Claimed]:
        claimed: list[Claimed] = []
        for row in found:
            try:
                claim = Claim(random_id("att"), offer.worker_id)
                run = self._plan.apply(row[0], claim).run
            except OutlastError:
                continue  # changed or deleted earlier in this very batch
            self.claimed[run.id] = claim.attempt_id
            inline, digest = row[rows.HEAD_WIDTH], row[rows.HEAD_WIDTH + 1]
            request = inline if inline is not None else await self._blob(run.tenant, digest)
            claimed.append(Claimed(run, request))
        return claimed

    async def _blob(self, tenant: str, digest: bytes) -> bytes:
        data: bytes = await self._link.fetchval(sql("select_blob"), tenant, digest)
        return data

    # Recovery.

    async def _begin_recovery(self, ops: Sequence[Recover]) -> list[str]:
        """Mark who is lost; the answer is whose lanes are concerned."""
        self._now = await self._link.fetchval(sql("lose_workers"), LOST_KEPT_MS)
        is_first = any(op.is_first for op in ops)
        found = await self._link.fetch(sql("select_lane_tenants_to_recover"), self._now, is_first)
        return [row[0] for row in found]

    async def _recover_lanes(self, *, is_first: bool) -> None:
        if is_first:
            await self._lanes.relimit(self._plan)
        await self._lanes.recover(self._plan, self._now)
        found = [rows.read(row) for row in [*self._orphans, *self._due]]
        ours = [run for run in found if self._lanes.holds(run)]  # the others a second later
        await self._lanes.load_of(self._plan, ours)
        self._plan.know(ours)

    def _recover(self) -> list[Transition]:
        commands: list[tuple[str, Command]] = [(row[0], self._lose(row)) for row in self._orphans]
        commands += [(row[0], Due()) for row in self._due]
        return [t for run_id, command in commands if (t := self._try(run_id, command)) is not None]

    def _lose(self, row: Cells) -> Command:
        run = self._plan.head(row[0])
        return Lose(run.attempt_id or "" if run else "", Cause.WORKER, row[rows.HEAD_WIDTH])

    def _try(self, run_id: str, command: Command) -> Transition | None:
        try:
            return self._plan.apply(run_id, command)
        except OutlastError:
            return None  # changed earlier in this very batch

    # What it writes.

    async def _write(self) -> None:
        plan = self._plan
        born = {run_id for run_id in plan.born if run_id in plan.changed}
        if born and await insert(self._link, plan, self._shard, []) != born:
            raise Collision
        await journal.write(self._link, plan)
        await steps.write(self._link, plan)
        if plan.transitions or plan.deleted:
            await self._link.execute(sql("write_plan"), *written(plan, self._now, self._shard))
        await self._lanes.write(plan)


def _commands(ops: Sequence[Op]) -> list[tuple[str, Command]]:
    return [(op.run_id, op.command) for op in ops if isinstance(op, Apply)]


def _submits(ops: Sequence[Op]) -> Iterator[Submit]:
    for op in ops:
        if isinstance(op, Submit):
            yield op
        elif isinstance(op, Turn) and op.run is not None:
            yield op.run


async def _roll_back(link: Link) -> None:
    """End the transaction; if that cannot be said, the connection ends and the transaction with it."""
    if link.is_closed():
        return
    try:
        await link.execute("ROLLBACK")
    except Exception:
        link.terminate()
