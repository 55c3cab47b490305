"""The texts of the queries, and rows turned into the columns that their `unnest` takes.

A run's columns are named once, in `store.rows`, and their types here; in a query
`:head` is all of them, `:fixed` and `:moving` are the two halves, `:fixed_arrays` and `:moving_arrays` their
parameters, `:new_moving` the values for `SET`, `:schedule` is a schedule's and `:step` a step's.
Every `?` gets its number in the order in which they stand.
"""

from collections.abc import Sequence
from functools import cache
from itertools import count

from outlast.store import rows, schedule_rows, step_rows
from outlast.store.queries import Row, Value, query

PACKAGE = "outlast.store.postgres"

Column = Sequence[Value] | None

_TYPES = {
    "bigint": """created_at timeout_s priority_s retry_max_attempts order_at due_at seq generation attempt attempt_at
        lost unproven failures executed_ms started_at finished_at model_calls input_tokens output_tokens
        cost_nano_usd unpriced_calls max_cost_nano_usd max_tokens result_size""",
    "bytea": "idempotency_hash metadata error_message progress waiting",
    "boolean": "ready solo",
    "float8": "retry_backoff_s",
}
"""Of a run's columns; the others are text."""
_TYPE_OF = {column: kind for kind, names in _TYPES.items() for column in names.split()}


@cache
def sql(name: str) -> str:
    """The text of `<name>.sql`, ready to be sent."""
    text = query(PACKAGE, name)
    for word, meaning in _WORDS.items():
        text = text.replace(word, meaning)
    numbers = count(1)
    pieces = text.split("?")
    return pieces[0] + "".join(f"${next(numbers)}{piece}" for piece in pieces[1:])


def columns(of: Sequence[Row], width: int) -> list[Column]:
    """The rows as columns. One without any value is null as a whole, which costs neither side anything."""
    if not of:
        return [None] * width
    n = len(of)
    return [None if column.count(None) == n else column for column in zip(*of, strict=True)]


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",")]


def _arrays(text: str) -> str:
    return ", ".join(f"?::{_TYPE_OF.get(name, 'text')}[]" for name in _names(text))


_WORDS = {
    ":head": ", ".join(f"runs.{name}" for name in _names(rows.HEAD_COLUMNS)),
    ":fixed_arrays": _arrays(rows.FIXED_COLUMNS),
    ":moving_arrays": _arrays(rows.MOVING_COLUMNS),
    ":new_moving": ", ".join(f"new.{name}" for name in _names(rows.MOVING_COLUMNS)),
    ":step": step_rows.STEP_COLUMNS,
    ":schedule": schedule_rows.SCHEDULE_COLUMNS,
    ":fixed": rows.FIXED_COLUMNS,
    ":moving": rows.MOVING_COLUMNS,
}
"""Longer words before those that they begin with."""
