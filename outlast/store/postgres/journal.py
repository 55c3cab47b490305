"""The journals' part of a transaction."""

from outlast.store import journal_rows
from outlast.store.plan import Plan
from outlast.store.postgres.connection import Link
from outlast.store.postgres.statements import columns, sql


async def write(link: Link, plan: Plan) -> None:
    """Copy, add, forget, delete: after the new runs are written. Costs nothing where there is nothing of it."""
    for run_id, fork, top in plan.forks:
        source = run_id, fork.run_id, fork.generation
        await link.execute(sql("fork_calls"), *source, top, fork.forgets_last)
        await link.execute(sql("fork_pins"), *source)
    if plan.entries:
        await _add(link, plan)
    for forgotten in plan.forgotten:
        await link.execute(sql("forget_call"), *forgotten)
    if plan.deleted:
        await link.execute(sql("delete_journals"), list(plan.deleted))


async def _add(link: Link, plan: Plan) -> None:
    links, calls, pins = journal_rows.links(plan), journal_rows.calls(plan), journal_rows.pins(plan)
    if links:
        columns_of_links = columns(links, journal_rows.LINK_WIDTH)
        await link.execute(sql("put_links"), *columns_of_links, journal_rows.TOUCH_AGAIN_MS)
    if calls:
        await link.execute(sql("insert_calls"), *columns(calls, journal_rows.CALL_WIDTH))
    if pins:
        await link.execute(sql("insert_pins"), *columns(pins, journal_rows.PIN_WIDTH))
