"""`Calls.call` is what every model call of every run goes through: found in the journal or asked, recorded, delivered.

A call that this attempt has in flight already is joined, not asked twice. An answer is read by a task of its own, which
goes on when the agent has gone; the last byte is delivered after what it came to is on disk.
"""

import asyncio

import msgspec

from outlast.gateway import retell, wish
from outlast.gateway.answer import ATTEMPT_OVER, JSON, Answer, Ask, Header
from outlast.gateway.fetch import Fetch
from outlast.gateway.flight import Flight, Line
from outlast.gateway.grants import Holder
from outlast.gateway.ledger import Ledger
from outlast.gateway.patience import Patience
from outlast.gateway.recall import Recall
from outlast.gateway.record import Call
from outlast.gateway.spending import Spending
from outlast.gateway.upstream import Upstreams

EVENT_STREAM: Header = (b"content-type", b"text/event-stream; charset=utf-8")


class Calls:
    """The calls of one gateway."""

    def __init__(
        self, upstreams: Upstreams, ledger: Ledger, recall: Recall, spending: Spending, patience: Patience
    ) -> None:
        self._upstreams = upstreams
        self._recall = recall
        self._fetch = Fetch(upstreams, ledger, recall, spending, patience)

    async def close(self) -> None:
        """Close the connections to providers."""
        await self._fetch.close()

    async def call(self, holder: Holder, ask: Ask, line: Line) -> Answer:
        """Answer one call of an attempt; what the provider fails to do is an answer too, never an exception.

        `Cut` if the attempt loses its run meanwhile. A streamed answer can still raise `BrokenOff`: its agent has got
        a part and must be told that it is only that.
        """
        call = await self._read(holder, ask)
        if not await holder.may_begin():
            return ATTEMPT_OVER.answer(ask.dialect)
        return await self._answer(call, self._flight(call, line))

    async def _read(self, holder: Holder, ask: Ask) -> Call:
        wished = wish.read(ask.body)
        model = self._upstreams.meant(wished.model, holder.model)
        if model is not None and model != wished.model:
            ask = msgspec.structs.replace(ask, body=wish.with_model(ask.body, model))
            wished = msgspec.structs.replace(wished, model=model)
        memory = await self._recall.memory(holder)
        asking = await self._recall.sought(memory, ask)
        before = memory.hears(asking.question) if asking else 0
        return Call(holder, asking.ask if asking else ask, wished, model, memory, asking, before)

    def _flight(self, call: Call, line: Line | None) -> Flight:
        """The answer to this call, on its way; set off here unless it is already."""
        slot = None
        if call.sought is not None and line is not None:
            slot = call.memory.slot(call.sought.hash, line, again=call.ask.retries > 0)
            if slot.flight is not None:
                slot.flight.join(line)
                return slot.flight
        flight = Flight(asked_as_stream=bool(call.wished.stream))
        if line is not None:
            flight.join(line)
        if slot is not None:
            slot.flight = flight
        task = asyncio.get_running_loop().create_task(self._fetch.bring(flight, call, slot))
        call.holder.flights.add(task)
        task.add_done_callback(call.holder.flights.discard)
        return flight

    async def _answer(self, call: Call, flight: Flight) -> Answer:
        await flight.begun()
        wants_stream = bool(call.wished.stream)
        is_as_it_came = flight.streamed == wants_stream or flight.asked_as_stream == wants_stream
        if flight.streamed and is_as_it_came:
            hides_usage = call.ask.path == "/chat/completions" and call.wished.hides_usage
            return Answer(flight.status, flight.headers, flight.pieces(with_usage=not hides_usage))
        await flight.complete()
        if is_as_it_came or flight.status >= 300:
            return Answer(flight.status, flight.headers, flight.body)
        return await self._retold(call, flight, wants_stream)

    async def _retold(self, call: Call, flight: Flight, as_stream: bool) -> Answer:
        """The answer in the form that this asker wants. One that cannot be told so is asked for once more, live."""
        path, with_usage = call.ask.path, not call.wished.hides_usage
        if as_stream:
            body = await asyncio.to_thread(retell.as_stream, path, flight.body, with_usage=with_usage)
        else:
            body = await asyncio.to_thread(retell.as_whole, path, flight.stream)
        if body is None:
            if not await call.holder.may_begin():
                return ATTEMPT_OVER.answer(call.ask.dialect)
            return await self._answer(call, self._flight(call, None))
        kept = tuple(header for header in flight.headers if header[0] != b"content-type")
        return Answer(flight.status, (EVENT_STREAM if as_stream else JSON, *kept), body)
