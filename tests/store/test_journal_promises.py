"""That a journal which is not whole is found: each promise about journals, broken on purpose."""

import pytest

from outlast.engine import Engine
from outlast.journal import Pin
from outlast.store.protocol import INLINE_MAX
from tests.journal_factory import finished, noise, record
from tests.runs_factory import running
from tests.store.conftest import Either

BREAKS = {
    "UPDATE calls SET seq = 2": "every kept call has its event",
    "UPDATE calls SET seq = 0": "every kept call has its event",
    "UPDATE calls SET generation = 2": "a generation that its run has not reached",
    "DELETE FROM links WHERE before IS NULL": "every link has the one before it",
    "UPDATE calls SET last = hash": "request is there, link by link",
    "UPDATE calls SET head = hash": "request is there, link by link",
    "DELETE FROM blobs": "every large part of a journal is there",
}


@pytest.mark.parametrize("statement", BREAKS)
async def test_a_journal_that_is_not_whole_is_found(either: Either, statement: str) -> None:
    store = either.make()
    await store.open()
    engine = Engine(store, either.clock)
    run, _ = await running(engine)
    large = noise(2 * INLINE_MAX)
    await record(engine, run, finished("a", "b", answer=large.encode(), pins=(Pin("c", 1, b"1"),)))
    await store.close()
    await either.check()

    await either.execute(statement)

    with pytest.raises(AssertionError, match=BREAKS[statement]):
        await either.check()
