"""The lane of submits: a batch is one statement, which commits by itself.

Nothing is read first. What is in the way of a run, its own id or the key it wants, shows when it is not born; it is
asked for then, and the submit is a replay, a conflict, or was accepted before by a commit whose answer got lost.
"""

from collections.abc import Callable, Sequence

from outlast.errors import IdempotencyConflict, StoreUnavailable
from outlast.runs import Event, Run
from outlast.store import rows
from outlast.store.lanes import Lanes, Limits
from outlast.store.plan import KeyPlace, Plan, key_place, key_places
from outlast.store.postgres.connection import Link
from outlast.store.postgres.lanes import own_limits
from outlast.store.postgres.statements import columns, sql
from outlast.store.postgres.writer import Answer, Outcome
from outlast.store.protocol import Submit, Submitted
from outlast.store.queries import Row
from outlast.transitions import Transition

HAS_LANES = object()
"""The answer for a run with limits: that one needs locks, and the other lane has them."""
ROUNDS = 5
"""How often a submit is tried whose place is taken and free again by turns."""
DURABLE = "SELECT pg_logical_emit_message(true, 'outlast', '')"
"""Commits something: whatever was committed before it is then as durable as it is."""
_RUN_WIDTH = rows.HEAD_WIDTH + 2
_EVENT_WIDTH = 6


class Submits:
    """What `Writer` does with a batch of submits."""

    def __init__(self, shard: Callable[[Link], int], limits: Callable[[], Limits]) -> None:
        self._shard = shard
        self._limits = limits

    async def transact(self, link: Link, ops: Sequence[Submit]) -> Outcome:
        lanes = Lanes(self._limits(), await own_limits(link, [op.run for op in ops]))
        answers: list[Answer] = [HAS_LANES if lanes.kinds(op.run) else None for op in ops]
        left = {n: op for n, op in enumerate(ops) if answers[n] is None}
        told: list[Transition] = []
        heads: dict[str, Run] = {}
        for _ in range(ROUNDS):
            if not left:
                return Outcome(answers, told)
            plan = Plan({}, {place: run for run in heads.values() if (place := key_place(run))}, 0)
            decided = {n: _decide(plan, heads, op) for n, op in left.items()}
            settled = {*heads, *(await insert(link, plan, self._shard(link), plan.events))}
            told += [transition for transition in plan.transitions if transition.run.id in settled]
            found = _found(decided, heads)
            if found:
                # Such a run can be seen before a synchronous standby has it: nobody waited for that commit to its end.
                await link.execute(DURABLE)
            told += found
            for n, answer in decided.items():
                if _concerns(answer) in settled:
                    answers[n] = answer
                    del left[n]
            if left:
                heads = await what_is_in_the_way(link, list(left.values()))
        raise StoreUnavailable(
            "What stands in the way of a submit comes and goes; nothing was accepted. Try again."
        )


async def insert(link: Link, plan: Plan, shard: int, of: Sequence[Event]) -> set[str]:
    """Write the plan's new runs and those events of theirs; the answer is who was born."""
    born = sorted((plan.changed[run_id] for run_id in plan.born if run_id in plan.changed), key=_order)
    if not born:
        return set()
    runs: list[Row] = [rows.fixed(run) + rows.moving(run) + rows.body(plan.born[run.id]) for run in born]
    events: list[Row] = [(e.run_id, e.seq, e.kind._value_, e.at, e.attempt_id, e.data) for e in of]
    values = [*columns(runs, _RUN_WIDTH), *columns(events, _EVENT_WIDTH), shard]
    return {row[0] for row in await link.fetch(sql("insert_runs"), *values)}


def _decide(plan: Plan, heads: dict[str, Run], op: Submit) -> Submitted | IdempotencyConflict:
    known = heads.get(op.run.id) or plan.head(op.run.id)
    if known is not None:
        return Submitted(known)  # accepted before, by a commit whose answer got lost
    try:
        return plan.submit(op)
    except IdempotencyConflict as refusal:
        return refusal


def _concerns(answer: Submitted | IdempotencyConflict) -> str:
    """The run that the answer is about: if that was not born after all, the answer does not hold."""
    return answer.run.id if isinstance(answer, Submitted) else answer.run_id


def _found(decided: dict[int, Submitted | IdempotencyConflict], heads: dict[str, Run]) -> list[Transition]:
    """Runs accepted by a lost answer: nobody was told of them."""
    return [
        Transition(answer.run)
        for answer in decided.values()
        if isinstance(answer, Submitted) and not answer.replayed and answer.run.id in heads
    ]


def _order(run: Run) -> tuple[KeyPlace, str]:
    """Keys are taken in this order by everyone, so nobody waits in a circle."""
    return key_place(run) or ("", "", ""), run.id


async def what_is_in_the_way(link: Link, ops: Sequence[Submit]) -> dict[str, Run]:
    places = key_places(ops)
    values = [op.run.id for op in ops], *([place[n] for place in places] for n in range(3))
    found = await link.fetch(sql("select_taken"), *values)
    return {row[0]: rows.read(row) for row in found}
