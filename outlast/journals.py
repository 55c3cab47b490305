"""Journals: the finished model calls of runs, so that a later attempt has them for nothing.

Calls are written by `Engine.record_call` and forgotten by what requeues a run; here they are packed and read.
docs/decisions/0080 says what is kept and for how long.
"""

import asyncio
from collections.abc import Callable, Sequence

import msgspec

from outlast.bodies import Bodies
from outlast.chains import digest, link, put_together
from outlast.journal import (
    Answered,
    Asked,
    CallKey,
    CallRow,
    FinishedCall,
    Journal,
    JournalCall,
    JournalRows,
    KeptCall,
    KeptLink,
    KeptPin,
    Pin,
)
from outlast.packing import pack, unpack
from outlast.runs import Json
from outlast.store.protocol import INLINE_MAX, Store


class _PinText(msgspec.Struct, frozen=True, array_like=True):
    tool_call_id: str
    content: msgspec.Raw


class Journals:
    """What an attempt finds at its start, and the parts of it that it asks for one by one."""

    def __init__(self, store: Store, bodies: Bodies) -> None:
        self._store = store
        self._bodies = bodies

    async def read(self, run_id: str, generation: int) -> Journal:
        """The finished calls of a generation in the order of their numbers, without their answers, and its pins."""
        found = await self._store.journal(run_id, generation)
        if not found.calls and not found.pins:
            return Journal()
        return await asyncio.to_thread(_unpacked, found)

    async def answered(self, run_id: str, generation: int, key: CallKey) -> Answered | None:
        """The kept answer, null if there is none (any more)."""
        kept = await self._store.answer(run_id, generation, key)
        if kept is None:
            return None
        content_type, _, body = (await _elsewhere(unpack, kept.packed)).partition(b"\n")
        return Answered(kept.status, content_type.decode(), kept.streamed, body)

    async def asked(self, tenant: str, call: JournalCall) -> Json:
        """The canonical body of a call's request, put together again."""
        asked = call.asked
        if asked.last is None:
            return asked.head
        chain = await self._store.chain(tenant, asked.last)
        return await asyncio.to_thread(lambda: put_together(asked.path, asked.head, map(unpack, chain)))

    async def keep(self, tenant: str, call: FinishedCall) -> KeptCall:
        """The call ready to be written; what is large in it is on disk when this returns."""
        asked, answered = call.asked, call.answered
        head = link(None, asked.path.encode() + b"\n" + asked.head)
        links = (head, *call.links)
        texts = [_pin_text(pin) for pin in call.pins]
        answer = answered.content_type.encode() + b"\n" + answered.body
        packed = iter(await _packed([one.content for one in links] + texts + [answer]))
        kept_links = [
            KeptLink(one.hash, one.before, await self._bodies.keep(tenant, next(packed))) for one in links
        ]
        kept_pins = [
            KeptPin(digest(pin.tool_call_id.encode()), pin.k, await self._bodies.keep(tenant, next(packed)))
            for pin in call.pins
        ]
        return KeptCall(
            call.key,
            head.hash,
            asked.last,
            answered.status,
            answered.streamed,
            await self._bodies.keep(tenant, next(packed)),
            tuple(kept_links),
            tuple(kept_pins),
        )


async def _packed(texts: Sequence[bytes]) -> list[bytes]:
    """All of them packed; beside the loop if that takes long, as for a history of a thousand messages."""
    if sum(map(len, texts)) <= INLINE_MAX:
        return [pack(text) for text in texts]
    return await asyncio.to_thread(lambda: [pack(text) for text in texts])


def _pin_text(pin: Pin) -> bytes:
    return msgspec.json.encode(_PinText(pin.tool_call_id, msgspec.Raw(pin.content)))


async def _elsewhere(work: Callable[[bytes], bytes], data: bytes) -> bytes:
    """What takes long is done beside the loop."""
    return work(data) if len(data) <= INLINE_MAX else await asyncio.to_thread(work, data)


def _unpacked(rows: JournalRows) -> Journal:
    heads = {known_by: unpack(packed).split(b"\n", 1) for known_by, packed in rows.heads.items()}
    calls = tuple(_call(row, *heads[row.head]) for row in rows.calls)
    return Journal(calls, tuple(_pin(k, unpack(packed)) for k, packed in rows.pins))


def _call(row: CallRow, path: bytes, head: Json) -> JournalCall:
    return JournalCall(row.key, row.seq, Asked(path.decode(), head, row.last))


def _pin(k: int, text: bytes) -> Pin:
    found = msgspec.json.decode(text, type=_PinText)
    return Pin(found.tool_call_id, k, bytes(found.content))
