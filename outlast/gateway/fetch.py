"""Brings the answer to one call: out of the journal, or from a provider, and then into the journal.

It goes on when the agent that asked has gone, and ends when the attempt's calls are cut. The end of an answer is handed
on after what it came to is written down.
"""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from outlast import telemetry
from outlast.errors import OutlastError
from outlast.gateway.answer import ATTEMPT_OVER, NO_RETRY, BrokenOff, Header, Refusal
from outlast.gateway.asking import Asking
from outlast.gateway.flight import Cut, Flight
from outlast.gateway.ledger import Ledger
from outlast.gateway.memory import Slot
from outlast.gateway.patience import Patience, is_passing
from outlast.gateway.purse import Guess
from outlast.gateway.recall import How, Recall
from outlast.gateway.record import Call, Record
from outlast.gateway.spending import Spending
from outlast.gateway.upstream import Route, Upstreams
from outlast.gateway.usage import Frames, Mark
from outlast.journal import Answered

if TYPE_CHECKING:
    from outlast.gateway.forward import Heard, Stream

_log = telemetry.get("gateway")


class Fetch:
    """Fills flights."""

    def __init__(
        self, upstreams: Upstreams, ledger: Ledger, recall: Recall, spending: Spending, patience: Patience
    ) -> None:
        self._upstreams = upstreams
        self._ledger = ledger
        self._recall = recall
        self._spending = spending
        self._asking = Asking(patience, ledger.prices)

    async def close(self) -> None:
        """Close the connections to providers."""
        await self._asking.close()

    async def bring(self, flight: Flight, call: Call, slot: Slot | None) -> None:
        """Fill the flight to its end; what goes wrong is told to those who wait for it."""
        try:
            if slot is None or not await self._replay(flight, call, slot):
                await self._ask(flight, call, slot)
        except asyncio.CancelledError:
            flight.fail(Cut())
            raise
        except Exception as error:
            if not isinstance(error, BrokenOff):
                _log.error("model call failed", exc=error, run_id=call.holder.run_id)
            flight.fail(error)
        finally:
            if slot is not None:
                slot.flight = None

    # From the journal.

    async def _replay(self, flight: Flight, call: Call, slot: Slot) -> bool:
        """Whether the journal had it."""
        assert call.sought is not None
        try:
            found = await self._recall.find(call.holder, slot, call.sought.question)
        except OutlastError as error:
            # A kept answer that cannot be had is asked for again: an agent that waits for ever helps nobody.
            _log.error("kept answer not read", run_id=call.holder.run_id, code=error.code)
            return False
        if found is None:
            return False
        await self._retrace(flight, call, *found)
        return True

    async def _retrace(self, flight: Flight, call: Call, answered: Answered, how: How) -> None:
        tally = self._ledger.open(call.holder, call.ask, call.model)
        tally.how, tally.status, tally.streamed = how, answered.status, answered.streamed
        headers = ((b"content-type", answered.content_type.encode()), (b"x-outlast-replayed", how.encode()))
        flight.asked_as_stream = answered.streamed
        if not answered.streamed:
            tally.meter.whole(answered.body, failed=answered.status >= 400)
        await self._ledger.record(tally)
        if not answered.streamed:
            return flight.whole(answered.status, headers, answered.body)
        flight.begin(answered.status, headers)
        frames = Frames()
        for event in frames.feed(answered.body):
            flight.add(event, tally.meter.event(event))
        if rest := frames.rest():
            flight.add(rest, Mark.PLAIN)
        flight.end()

    # From a provider.

    async def _ask(self, flight: Flight, call: Call, slot: Slot | None) -> None:
        record = Record(self._ledger, self._recall, call, slot)
        routes = await self._upstreams.find(call.model, call.ask.dialect)
        if isinstance(routes, Refusal):
            await record.refused(routes)
            return flight.answer(routes.answer(call.ask.dialect))
        with call.holder.held():
            guess = await self._admitted(call, routes)
        if isinstance(guess, Refusal):
            await record.refused(guess)
            return flight.answer(guess.answer(call.ask.dialect))
        try:
            await self._send(flight, call, record, routes)
        finally:
            if guess is not None:
                await call.holder.purse.settle(guess)

    async def _admitted(self, call: Call, routes: Sequence[Route]) -> Guess | Refusal | None:
        """As `Spending.admit` has it; and the run may be about to go on elsewhere by the time there is money."""
        guess = await self._spending.admit(call, routes)
        if isinstance(guess, Guess) and not await call.holder.may_begin():
            await call.holder.purse.settle(guess)
            return ATTEMPT_OVER
        return guess

    async def _send(self, flight: Flight, call: Call, record: Record, routes: tuple[Route, ...]) -> None:
        reached = await self._asking.ask(routes, call.ask, call.wished)
        record.reached(reached.route)
        heard = reached.heard
        if heard.stream is None:
            await record.whole(heard)
            flight.whole(heard.status, _with_verdict(heard), heard.body)
        else:
            await self._read(flight, record, heard, heard.stream)

    async def _read(self, flight: Flight, record: Record, heard: "Heard", stream: "Stream") -> None:
        frames, data = Frames(), heard.body
        flight.begin(heard.status, heard.headers)
        try:
            while data:
                for event in frames.feed(data):
                    mark = record.meter.event(event)
                    if mark is Mark.LAST:
                        await record.stream(heard, flight.stream + event)
                    flight.add(event, mark)
                await flight.room()
                data = await stream.read()
            rest = frames.rest()
            if not record.is_written:
                await record.stream(heard, flight.stream + rest, is_told_to_end=False)
            if rest:
                flight.add(rest, Mark.PLAIN)
            flight.end()
        except BrokenOff as error:
            if not await record.broke_off(heard, error):
                raise
            flight.end()
        finally:
            stream.close()


def _with_verdict(heard: "Heard") -> tuple[Header, ...]:
    """What the gateway gave up on, the agent shall not try again."""
    if not is_passing(heard.status):
        return heard.headers
    return (*(header for header in heard.headers if header[0] != NO_RETRY[0]), NO_RETRY)
