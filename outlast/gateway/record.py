"""What is written down of a live call once it is over, before its last byte is delivered: its event, and its answer.

Only what is whole is kept: a 2xx answer without an error in it, or a refusal that asking again cannot change.
"""

import asyncio
from typing import TYPE_CHECKING

import msgspec

from outlast import telemetry
from outlast.gateway import retell, wish
from outlast.gateway.answer import Ask, BrokenOff, Refusal
from outlast.gateway.grants import Holder
from outlast.gateway.ledger import Ledger
from outlast.gateway.memory import Memory, Slot
from outlast.gateway.recall import Diverged, Recall, Sought
from outlast.gateway.upstream import Route
from outlast.journal import Answered, FinishedCall

if TYPE_CHECKING:
    from outlast.gateway.forward import Heard

REFUSED_FOR_GOOD = frozenset({400, 413, 422})
MAX_KEPT = 32 * 1024 * 1024
"""Bytes of an answer that the journal takes."""
COMPARING_S = 1.0
"""So long the record of a call waits for the words on how it differs."""

_log = telemetry.get("gateway")
_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class Call(msgspec.Struct, frozen=True):
    """A call that has been read."""

    holder: Holder
    ask: Ask
    wished: wish.Wish
    model: str | None
    memory: Memory
    sought: Sought | None
    """None: it is not journalled."""
    goes_on_from: int = 0
    """So many of its messages were asked before by this attempt."""


class Record:
    """Of one live call."""

    def __init__(self, ledger: Ledger, recall: Recall, call: Call, slot: Slot | None) -> None:
        self._ledger = ledger
        self._call = call
        self._slot = slot
        self._tally = ledger.open(call.holder, call.ask, call.model)
        self.meter = self._tally.meter
        self._comparing: asyncio.Task[Diverged | None] | None = None
        left = call.memory.leaves(call.ask.path) if slot is not None else ()
        if left and call.sought is not None:
            comparing = recall.divergence(call.holder, call.sought.question, left, call.goes_on_from)
            self._comparing = asyncio.get_running_loop().create_task(comparing)

    @property
    def is_written(self) -> bool:
        """It is over."""
        return self._tally.recorded

    def reached(self, route: Route) -> None:
        """Who answers."""
        self._tally.route = route

    async def refused(self, refusal: Refusal) -> None:
        """Nobody was asked."""
        self._tally.status, self.meter.error = refusal.status, refusal.message
        await self._write(None)

    async def whole(self, heard: "Heard") -> None:
        """The answer came in one piece."""
        self._take(heard)
        self.meter.whole(heard.body, failed=heard.status >= 400)
        if heard.status >= 400 and heard.answered:
            self.meter.error = f"The model provider answered {heard.status}: {self.meter.error}"
        await self._write(self._answered(heard, heard.body) if self._is_good(heard) else None)

    async def stream(self, heard: "Heard", told: bytes, *, is_told_to_end: bool = True) -> None:
        """The stream is over, or all but; what comes after its last event is of no account."""
        if self._tally.recorded:
            return
        self._take(heard)
        is_whole = self.meter.error is None and (is_told_to_end or await self._is_whole(told))
        if not is_whole and self.meter.error is None and self.meter.tokens.output is None:
            self.meter.error = "The provider's stream ended before its answer did."
        await self._write(self._answered(heard, told) if is_whole else None)

    async def _is_whole(self, told: bytes) -> bool:
        """Whether a stream that does not say that it is over has an answer in it; the whole of it has to be read."""
        return await asyncio.to_thread(retell.as_whole, self._call.ask.path, told) is not None

    async def broke_off(self, heard: "Heard", error: BrokenOff) -> bool:
        """The stream ended before its end. Whether everything that counts had come by then."""
        if self._tally.recorded:
            return True
        self._take(heard)
        self.meter.error = str(error)
        await self._write(None)
        return False

    def _take(self, heard: "Heard") -> None:
        tally = self._tally
        tally.status, tally.tries, tally.streamed = heard.status, heard.tries, heard.stream is not None

    def _is_good(self, heard: "Heard") -> bool:
        if heard.status in REFUSED_FOR_GOOD:
            return heard.answered
        return heard.status < 300 and self.meter.error is None and _is_object(heard.body)

    def _answered(self, heard: "Heard", body: bytes) -> Answered:
        said = dict(heard.headers).get(b"content-type", b"application/json")
        return Answered(heard.status, said.decode("latin-1"), heard.stream is not None, body)

    async def _write(self, answered: Answered | None) -> None:
        self._tally.diverged = await self._compared()
        finished = self._finished(answered)
        if (
            await self._ledger.record(self._tally, finished)
            and finished is not None
            and self._slot is not None
        ):
            self._slot.kept = self._slot.key
            self._call.memory.handed_over(finished.links, finished.pins)

    def _finished(self, answered: Answered | None) -> FinishedCall | None:
        sought, slot = self._call.sought, self._slot
        if answered is None or sought is None or slot is None or len(answered.body) > MAX_KEPT:
            return None
        links = self._call.memory.fresh_links(sought.question)
        return FinishedCall(slot.key, sought.question.asked, answered, links, sought.pins)

    async def _compared(self) -> Diverged | None:
        if self._comparing is None:
            return None
        try:
            found = await asyncio.wait_for(self._comparing, COMPARING_S)
            return found if found is not None and self._call.memory.diverges() else None
        except TimeoutError:
            return None
        except Exception as error:
            _log.error("calls not compared", exc=error, run_id=self._call.holder.run_id)
            return None


def _is_object(body: bytes) -> bool:
    try:
        _object(body)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return False
    return True
