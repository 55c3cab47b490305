"""What the journal of a long conversation takes: its history repeats in every request, and is kept once."""

import asyncio

import pytest

from outlast.engine import Engine
from tests.conversation import Conversation
from tests.journal_factory import record
from tests.runs_factory import running
from tests.store.conftest import Either

COLUMNS = {
    "calls": "run_id generation hash n seq head last status streamed answer answer_hash",
    "pins": "run_id generation key k content content_hash",
    "links": "tenant hash before touched_at content content_hash",
}
NUMBERS = {"generation": 4, "n": 4, "k": 4, "seq": 8, "status": 2, "streamed": 1, "touched_at": 8}
"""Bytes in PostgreSQL; SQLite takes fewer for small ones."""


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(("said", "found"), [(120, 300), (400, 1200)], ids=["short", "usual"])
async def test_the_journal_of_a_hundred_rounds_is_at_most_twice_its_last_request(
    engine: Engine, either: Either, *, streamed: bool, said: int, found: int
) -> None:
    run, _ = await running(engine)
    conversation = Conversation(streamed=streamed, said=said, found=found)
    before = await either.size()
    await asyncio.gather(*(record(engine, run, call) for call in conversation.calls(100)))

    size = sum(
        [
            await either.number(f"SELECT sum({_width(columns)}) FROM {table}")
            for table, columns in COLUMNS.items()
        ]
    )
    last, grown = len(conversation.body), await either.size() - before
    figures = f"{size / last:.2f} x the last request of {last} bytes; files grew by {grown / last:.2f} x"
    print(f"\nrows: {figures}")  # noqa: T201 - seen with -s

    assert await either.count("calls") == 100
    assert size <= 2 * last, figures


def _width(columns: str) -> str:
    return " + ".join(
        str(NUMBERS[name]) if name in NUMBERS else f"coalesce(length({name}), 0)" for name in columns.split()
    )
