"""Looks for a call in its run's journal: what it asks, whether that was answered before, where it differs from before.

Reading a large body takes milliseconds and happens beside the loop.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import TypeVar

import msgspec

from outlast import telemetry
from outlast.chains import put_together, taken_apart
from outlast.engine import Engine
from outlast.errors import OutlastError, StoreUnavailable
from outlast.gateway.answer import Ask
from outlast.gateway.divergence import Difference, difference, shared
from outlast.gateway.grants import Holder
from outlast.gateway.memory import Memory, Slot
from outlast.gateway.normal import normal_hash
from outlast.gateway.question import PATHS, Body, Question, Unreadable
from outlast.gateway.toolresults import ToolResult
from outlast.journal import Answered, JournalCall, Pin
from outlast.runs import Json

LARGE = 64 * 1024
"""Bytes of a body from which it is read beside the loop."""
COMPARED = 8
"""So many of the calls that are left to replay are compared with the first one that is not among them."""
AWAY_S = 0.2

T = TypeVar("T")
_log = telemetry.get("gateway")


class How(StrEnum):
    """Where an answer comes from."""

    LIVE = "live"
    """The provider."""
    EXACT = "exact"
    """The journal, for the same question."""
    NORMALISED = "normalised"
    """The journal, for a question that differs in times, dates, ids or temporary paths only."""


class Sought(msgspec.Struct, frozen=True):
    """A call that the journal may know."""

    ask: Ask
    """As it goes to the provider: results of tools that were sent before are sent again as they were."""
    question: Question
    hash: bytes
    pins: tuple[Pin, ...]
    """Results of tools in it that the journal does not have yet."""


class Diverged(msgspec.Struct, frozen=True):
    """Where the first call that is not in the journal differs from one that is."""

    call: int
    """The number of that one's event."""
    field: str
    was: str
    is_: str = msgspec.field(name="is")


class Recall:
    """The journals of the runs of one worker."""

    def __init__(self, engine: Engine, *, normalises: bool) -> None:
        self._engine = engine
        self._normalises = normalises

    async def memory(self, holder: Holder) -> Memory:
        """What this attempt knows of its calls; its first call reads the journal.

        A journal that cannot be read is waited for: to go on without would be to pay again.
        """
        if holder.memory is None:
            holder.memory = asyncio.get_running_loop().create_task(self._read(holder))
        return await asyncio.shield(holder.memory)

    async def _read(self, holder: Holder) -> Memory:
        while True:
            try:
                return Memory(await self._engine.journals.read(holder.run_id, holder.generation))
            except StoreUnavailable:
                await asyncio.sleep(AWAY_S)

    async def sought(self, memory: Memory, ask: Ask) -> Sought | None:
        """What a call asks; None for one that is not journalled."""
        if ask.path not in PATHS:
            return None
        is_large = len(ask.body) > LARGE
        try:
            body = await _done(is_large, lambda: Body(ask.path, ask.body))
            replaced, pins = memory.pinned(body.results)
            return await _done(is_large, lambda: _sought(ask, body, replaced, pins))
        except Unreadable:
            return None

    async def find(self, holder: Holder, slot: Slot, question: Question) -> tuple[Answered, How] | None:
        """The answer that this call was given before."""
        if slot.kept is None and self._normalises:
            await self._find_alike(holder, slot, question)
        if slot.kept is None:
            return None
        kept = slot.kept
        answered = await self._engine.journals.answered(holder.run_id, holder.generation, kept)
        if answered is None:
            slot.kept = None
            return None
        return answered, How.EXACT if kept == slot.key else How.NORMALISED

    async def _find_alike(self, holder: Holder, slot: Slot, question: Question) -> None:
        memory = await self.memory(holder)
        if not memory.unused(question.path):
            return
        wanted = await asyncio.to_thread(lambda: normal_hash(_canonical(question)))
        for call in memory.unused(question.path):
            if await self._normal_hash(holder, memory, call) == wanted and memory.use(call.key):
                slot.kept = call.key
                return

    async def _normal_hash(self, holder: Holder, memory: Memory, call: JournalCall) -> bytes:
        known = memory.normal.get(call.key)
        if known is None:
            request = await self._engine.journals.asked(holder.tenant, call)
            known = memory.normal[call.key] = await asyncio.to_thread(normal_hash, request)
        return known

    async def divergence(
        self, holder: Holder, question: Question, left: Sequence[JournalCall], goes_on_from: int
    ) -> Diverged | None:
        """Where a question differs from the one it has most in common with among those `left` to replay.

        One that goes on from an earlier question has left the way only if one of them does so too; if none does, they
        are those of other agents, working beside this one.
        """
        needed = 0 if self._normalises else goes_on_from
        best: tuple[int, Diverged] | None = None
        now = await asyncio.to_thread(_canonical, question)
        try:
            for call in left[:COMPARED]:
                was = await self._engine.journals.asked(holder.tenant, call)
                common, found = await asyncio.to_thread(_compare, question, now, was)
                if found is not None and common >= needed and (best is None or common > best[0]):
                    best = common, Diverged(call.seq, found.field, found.was, found.is_)
        except OutlastError as error:
            _log.warning("calls not compared", run_id=holder.run_id, code=error.code)
        return best[1] if best else None


def _sought(ask: Ask, body: Body, replaced: Mapping[ToolResult, Json], pins: tuple[Pin, ...]) -> Sought:
    body.replace(replaced)
    question = body.question()
    return Sought(msgspec.structs.replace(ask, body=body.bytes), question, question.hash, pins)


def _compare(question: Question, now: bytes, was: bytes) -> tuple[int, Difference | None]:
    return shared(question.links, taken_apart(question.path, was)[1]), difference(was, now)


def _canonical(question: Question) -> bytes:
    return put_together(question.path, question.head, (link.content for link in question.links))


async def _done(is_long: bool, work: Callable[[], T]) -> T:
    return await asyncio.to_thread(work) if is_long else work()
