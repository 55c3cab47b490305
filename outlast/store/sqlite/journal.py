"""The journals' part of a transaction."""

import sqlite3

from outlast.store import journal_rows
from outlast.store.plan import Plan
from outlast.store.queries import Row, query, statements
from outlast.store.sqlite.ops import PACKAGE


def write(db: sqlite3.Connection, plan: Plan, now: int) -> None:
    """Copy, add, forget: after the new runs are written, and before any is deleted."""
    for run_id, fork, top in plan.forks:
        source = run_id, fork.run_id, fork.generation
        db.execute(query(PACKAGE, "fork_calls"), (*source, top, fork.forgets_last))
        db.execute(query(PACKAGE, "fork_pins"), source)
    if plan.entries:
        _insert(db, "put_links", [(*link, now) for link in journal_rows.links(plan)])
        _insert(db, "insert_calls", journal_rows.calls(plan))
        _insert(db, "insert_pins", journal_rows.pins(plan))
    for forgotten in plan.forgotten:
        db.execute(query(PACKAGE, "forget_call"), forgotten)


def _insert(db: sqlite3.Connection, name: str, values: list[Row]) -> None:
    for sql, parameters in statements(PACKAGE, name, values):
        db.execute(sql, parameters)
