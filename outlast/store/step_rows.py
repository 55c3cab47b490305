"""Steps as rows and back, in the same columns and order for both stores."""

from outlast.runs import Body
from outlast.steps import Answer, Effect, Step, StepState
from outlast.store import rows
from outlast.store.plan import Plan
from outlast.store.queries import Row
from outlast.store.rows import Cells

STEP_COLUMNS = """steps.run_id, steps.generation, steps.key, steps.name, steps.effect, steps.state, steps.attempt_id,
    steps.idempotency_key, steps.started_at, steps.input, steps.result, steps.result_hash, steps.result_size,
    steps.error, steps.answer, steps.ended_at"""
"""The order that `read` expects; `:step` in a query stands for it."""

STEP_WIDTH = STEP_COLUMNS.count(",") + 1


def changed(plan: Plan) -> list[Row]:
    """As in put_steps.sql, all in one order; nothing of a run that is deleted with it."""
    return [_row(plan.steps[place]) for place in sorted(plan.steps) if place[0] not in plan.deleted]


def _row(step: Step) -> Row:
    return (
        step.run_id,
        step.generation,
        step.key,
        step.name,
        step.effect._value_,
        step.state._value_,
        step.attempt_id,
        step.idempotency_key,
        step.started_at,
        step.input,
        *rows.body(step.result),
        None if step.result is None else step.result.size,
        None if step.error is None else step.error.encode(),
        None if step.answer is None else step.answer._value_,
        step.ended_at,
    )


def read(row: Cells) -> Step:
    """The step from a row of `STEP_COLUMNS`."""
    return Step(
        run_id=row[0],
        generation=row[1],
        key=row[2],
        name=row[3],
        effect=Effect(row[4]),
        state=StepState(row[5]),
        attempt_id=row[6],
        idempotency_key=row[7],
        started_at=row[8],
        input=row[9],
        result=None if row[12] is None else Body(row[12], row[10], row[11]),
        error=None if row[13] is None else row[13].decode(),
        answer=None if row[14] is None else Answer(row[14]),
        ended_at=row[15],
    )
