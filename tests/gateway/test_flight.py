"""An answer on its way to several who asked: how far it is read ahead, and for whom."""

import asyncio

from outlast.gateway.flight import AHEAD, Flight, Line
from outlast.gateway.usage import Mark


def a_long_stream(line: Line) -> Flight:
    """One of which more has come than is read ahead of an agent that takes nothing."""
    flight = Flight(asked_as_stream=True)
    flight.join(line)
    flight.begin(200, ())
    flight.add(b"x" * (AHEAD + 1), Mark.PLAIN)
    return flight


async def test_a_stream_is_read_no_further_than_its_agent_takes_it_while_that_is_there() -> None:
    line = Line()
    flight = a_long_stream(line)
    reading = asyncio.create_task(flight.room())
    await asyncio.sleep(0)

    assert not reading.done()
    line.close()
    await asyncio.wait_for(reading, 5)


async def test_whoever_wants_a_stream_whole_does_not_wait_for_one_that_takes_nothing() -> None:
    flight = a_long_stream(Line())
    flight.join(Line())
    reading = asyncio.create_task(flight.room())
    await asyncio.sleep(0)

    whole = asyncio.create_task(flight.complete())
    await asyncio.wait_for(reading, 5)
    flight.end()

    await asyncio.wait_for(whole, 5)
