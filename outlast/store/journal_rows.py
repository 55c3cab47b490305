"""What a plan adds to the journals, as rows for both stores; nothing of a run that is deleted with it."""

from collections.abc import Iterable, Iterator

from outlast.journal import CallKey, CallRow, Entry, JournalRows
from outlast.runs import Run
from outlast.store import rows
from outlast.store.plan import Plan
from outlast.store.queries import Row
from outlast.store.rows import Cells

CALL_WIDTH, PIN_WIDTH, LINK_WIDTH = 11, 6, 5
TOUCH_AGAIN_MS = 1800 * 1000
"""A link that is used again while it is younger is left as it is: many runs of a tenant use the same ones at once.

Half of what is young for the sweep: nothing that is about to be used may look old to it.
"""


def calls(plan: Plan) -> list[Row]:
    """As in insert_calls.sql; the first of equal keys is the one that stays."""
    return [
        (
            run.id,
            entry.generation,
            call.key.hash,
            call.key.n,
            entry.seq,
            call.head,
            call.last,
            call.status,
            call.streamed,
            *rows.body(call.answer),
        )
        for run, entry in _entries(plan)
        for call in (entry.call,)
    ]


def pins(plan: Plan) -> list[Row]:
    """As in insert_pins.sql."""
    return [
        (run.id, entry.generation, pin.key, pin.k, *rows.body(pin.content))
        for run, entry in _entries(plan)
        for pin in entry.call.pins
    ]


def links(plan: Plan) -> list[Row]:
    """As in put_links.sql, each once and all in one order: whoever locks them never waits in a circle."""
    found: dict[tuple[str, bytes], Row] = {
        (run.tenant, link.hash): (run.tenant, link.hash, link.before, *rows.body(link.content))
        for run, entry in _entries(plan)
        for link in entry.call.links
    }
    return [found[place] for place in sorted(found)]


def read(calls: Iterable[Cells], heads: Iterable[Cells], pins: Iterable[Cells]) -> JournalRows:
    """From the rows of select_calls.sql, select_heads_of_calls.sql and select_pins.sql."""
    return JournalRows(
        tuple(CallRow(CallKey(row[0], row[1]), row[2], row[3], row[4]) for row in calls),
        {row[0]: row[1] for row in heads},
        tuple((row[0], row[1]) for row in pins),
    )


def _entries(plan: Plan) -> Iterator[tuple[Run, Entry]]:
    for run, entry in plan.entries:
        if run.id not in plan.deleted:
            yield run, entry
