"""`Calls.call` is what every model call of every run goes through: sent, counted, recorded.

It is the place of the journal. What was paid already is to be looked up there before the call is sent, and written
where it is recorded: when the answer is known to be whole, before its last byte is delivered.
"""

from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING

import msgspec

from outlast.gateway import wish
from outlast.gateway.answer import NO_RETRY, Answer, Ask, BrokenOff, Header, Refusal
from outlast.gateway.asking import Asking
from outlast.gateway.grants import Holder
from outlast.gateway.ledger import Ledger, Tally
from outlast.gateway.patience import Patience, is_passing
from outlast.gateway.upstream import Upstreams
from outlast.gateway.usage import Frames, Mark

if TYPE_CHECKING:
    from outlast.gateway.forward import Heard, Stream


class Calls:
    """The calls of one gateway."""

    def __init__(self, upstreams: Upstreams, ledger: Ledger, patience: Patience) -> None:
        self._upstreams = upstreams
        self._ledger = ledger
        self._asking = Asking(patience, ledger.prices)

    async def close(self) -> None:
        """Close the connections to providers."""
        await self._asking.close()

    async def call(self, holder: Holder, ask: Ask) -> Answer:
        """Answer one call of an attempt; what the provider fails to do is an answer too, never an exception.

        A streamed answer can still raise `BrokenOff`: its agent has got a part and must be told that it is only that.
        """
        wished = wish.read(ask.body)
        model = self._upstreams.meant(wished.model, holder.model)
        if model is not None and model != wished.model:
            ask = msgspec.structs.replace(ask, body=wish.with_model(ask.body, model))
            wished = msgspec.structs.replace(wished, model=model)
        tally = self._ledger.open(holder, ask, model)
        routes = await self._upstreams.find(model, ask.dialect)
        if isinstance(routes, Refusal):
            tally.status, tally.meter.error = routes.status, routes.message
            await self._ledger.record(tally)
            return routes.answer(ask.dialect)
        reached = await self._asking.ask(routes, ask, wished)
        tally.route = reached.route
        return await self._answer(tally, reached.heard, strip=reached.has_extra)

    async def _answer(self, tally: Tally, heard: "Heard", *, strip: bool) -> Answer:
        tally.status, tally.tries, tally.streamed = heard.status, heard.tries, heard.stream is not None
        if heard.stream is not None:
            pieces = self._pieces(tally, heard.body, heard.stream, strip=strip)
            return Answer(heard.status, heard.headers, pieces)
        tally.meter.whole(heard.body, failed=heard.status >= 400)
        if heard.status >= 400 and heard.answered:
            tally.meter.error = f"The model provider answered {heard.status}: {tally.meter.error}"
        await self._ledger.record(tally)
        return Answer(heard.status, _with_verdict(heard), heard.body)

    async def _pieces(
        self, tally: Tally, data: bytes, stream: "Stream", *, strip: bool
    ) -> AsyncGenerator[bytes, None]:
        frames = Frames()
        try:
            while data:
                if piece := await self._piece(tally, frames.feed(data), strip=strip):
                    yield piece
                data = await stream.read()
            await self._ledger.record(tally)
            if rest := frames.rest():
                yield rest
        except BrokenOff as error:
            tally.meter.error = str(error)
            await self._ledger.record(tally)
            raise
        finally:
            stream.close()

    async def _piece(self, tally: Tally, events: list[bytes], *, strip: bool) -> bytes:
        kept = []
        for event in events:
            mark = tally.meter.event(event)
            if mark is Mark.LAST:
                await self._ledger.record(tally)
            if not (strip and mark is Mark.USAGE_ONLY):
                kept.append(event)
        return b"".join(kept)


def _with_verdict(heard: "Heard") -> tuple[Header, ...]:
    """What the gateway gave up on, the agent shall not try again."""
    if not is_passing(heard.status):
        return heard.headers
    return (*(header for header in heard.headers if header[0] != NO_RETRY[0]), NO_RETRY)
