"""The tool journal's part of a transaction."""

from collections.abc import Iterable, Mapping, Sequence

from outlast.runs import Run
from outlast.steps import Step
from outlast.store import step_rows
from outlast.store.plan import Plan, step_places
from outlast.store.postgres.connection import Link
from outlast.store.postgres.statements import columns, sql
from outlast.transitions import Command


async def load(
    link: Link, commands: Sequence[tuple[str, Command]], heads: Mapping[str, Run]
) -> Iterable[Step]:
    """The kept steps that a batch is about; their runs are locked."""
    places = step_places(commands, heads)
    if not places:
        return ()
    return [step_rows.read(row) for row in await link.fetch(sql("select_steps"), *columns(places, 3))]


async def write(link: Link, plan: Plan) -> None:
    """Copy, add, delete: after the new runs are written. Costs nothing where there is nothing of it."""
    for run_id, fork, _ in plan.forks:
        await link.execute(sql("fork_steps"), run_id, fork.run_id, fork.generation)
    changed = step_rows.changed(plan)
    if changed:
        await link.execute(sql("put_steps"), *columns(changed, step_rows.STEP_WIDTH))
    if plan.deleted:
        await link.execute(sql("delete_steps"), list(plan.deleted))
