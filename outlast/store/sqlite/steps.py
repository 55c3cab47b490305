"""The tool journal's part of a transaction, and of the reads."""

import sqlite3
from collections.abc import Iterable, Sequence

import msgspec

from outlast.runs import Run
from outlast.steps import Step, StepPage
from outlast.store import step_rows
from outlast.store.ops import Apply
from outlast.store.plan import Plan, StepPlace, step_places
from outlast.store.protocol import Page
from outlast.store.queries import query, statements
from outlast.store.sqlite.ops import PACKAGE, Op


def load(db: sqlite3.Connection, ops: Sequence[Op], heads: dict[str, Run]) -> Iterable[Step]:
    """The kept steps that a batch is about."""
    commands = [(op.run_id, op.command) for op in ops if isinstance(op, Apply)]
    places = step_places(commands, heads)
    return find(db, places) if places else ()


def find(db: sqlite3.Connection, places: Sequence[StepPlace]) -> list[Step]:
    """The steps at these places, in no order."""
    found = db.execute(step_query("select_steps"), (msgspec.json.encode(places).decode(),))
    return [step_rows.read(row) for row in found]


def listed(db: sqlite3.Connection, run_id: str, generation: int, page: Page) -> StepPage:
    """A page of a run's steps."""
    found = db.execute(step_query("list_steps"), (run_id, generation, page.size, page.offset)).fetchall()
    total: int = db.execute(query(PACKAGE, "count_steps"), (run_id, generation)).fetchone()[0]
    return StepPage(tuple(step_rows.read(row) for row in found), total)


def write(db: sqlite3.Connection, plan: Plan) -> None:
    """Copy and add: after the new runs are written, and before any is deleted."""
    for run_id, fork, _ in plan.forks:
        db.execute(query(PACKAGE, "fork_steps"), (run_id, fork.run_id, fork.generation))
    for sql, parameters in statements(PACKAGE, "put_steps", step_rows.changed(plan)):
        db.execute(sql, parameters)


def step_query(name: str) -> str:
    """A query with its columns written out."""
    return query(PACKAGE, name).replace(":step", step_rows.STEP_COLUMNS)
