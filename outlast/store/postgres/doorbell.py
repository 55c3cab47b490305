"""Tells other processes what was committed here, and hears what was committed there.

A commit of one process reaches the streams, waits and workers of another in a few milliseconds; a ring that is lost
costs a second. NOTIFY takes a lock that every notifying commit of the database waits for, so it never stands in a
transaction that writes runs: one connection of its own, which does not wait for the disk, sends what has gathered.
"""

import asyncio
import base64
import os
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from outlast import telemetry
from outlast.errors import StoreUnavailable
from outlast.store.postgres.connection import Address, Line, Link, is_gone
from outlast.store.postgres.statements import sql
from outlast.store.protocol import OnRung, OnTold, Rung
from outlast.store.rungs import rungs_of
from outlast.transitions import Transition

CHANNEL = "outlast"
APART_S = 0.005
"""Between two notifications at least."""
PAYLOAD_MAX = 7500
"""Characters; PostgreSQL takes 7,999 bytes."""
PIECE = 5500
"""Bytes of a message that, written as text, fit into one payload."""
POLL_S = 1.0
"""So often everybody is told to look, whatever rang."""
ALIVE_S = 5.0
"""A listening connection that does not answer for so long is made anew."""
PENDING_MAX = 20_000
"""Runs to tell of that may gather; beyond, the others are told to look at everything."""

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(list[Rung]).decode
log = telemetry.get("store")


class Doorbell:
    """One process's end. It runs from `start` to `stop`; what goes wrong in it is tried again."""

    def __init__(self, address: Address, on_rung: OnRung, on_told: OnTold) -> None:
        self._address = address
        self._on_rung = on_rung
        self._on_told = on_told
        self._name = os.urandom(4).hex()
        self._pending: dict[str, Rung] = {}
        self._said: list[str] = []
        self._number = 0
        self._gathered = asyncio.Event()
        self._pieces: dict[str, bytes] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._sending = Line(address, durable=False)
        self._listening = Line(address)

    def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._tasks.append(loop.create_task(self._poll()))
        if self._address.is_session:
            self._tasks += [loop.create_task(self._send()), loop.create_task(self._listen())]

    async def stop(self) -> None:
        """Send what has gathered, then be silent."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._sending.is_made:
            await self._send_once()
        await self._sending.close()
        await self._listening.close()

    def ring(self, transitions: Sequence[Transition]) -> None:
        """Something was committed here."""
        if not self._address.is_session:
            return
        for rung in rungs_of(transitions):
            before = self._pending.get(rung.run_id)
            self._pending[rung.run_id] = rung if before is None else _both(before, rung)
        self._gathered.set()

    def ring_all(self) -> None:
        """Something may be of interest that is no commit."""
        if self._address.is_session:
            self._say("r", "[]")

    def tell(self, message: bytes) -> None:
        """To every other process, or to none."""
        if not self._address.is_session:
            return
        for at in range(0, len(message), PIECE):
            kind = "t" if at + PIECE >= len(message) else "p"
            self._say(kind, base64.b64encode(message[at : at + PIECE]).decode())

    def _say(self, kind: str, text: str) -> None:
        self._number += 1  # equal payloads of one transaction would be delivered once
        self._said.append(f"{self._name}{kind}{self._number} {text}")
        self._gathered.set()

    # Sending.

    async def _send(self) -> None:
        while True:
            await self._gathered.wait()
            await self._send_once()
            await asyncio.sleep(APART_S)

    async def _send_once(self) -> None:
        self._gathered.clear()
        rungs, self._pending = self._pending, {}
        if len(rungs) > PENDING_MAX:
            self.ring_all()
        else:
            for text in _payloads(rungs.values()):
                self._say("r", text)
        said, self._said = self._said, []
        self._gathered.clear()
        if not said:
            return
        try:
            link = await self._sending.link()
            await link.execute(sql("notify"), said)
        except StoreUnavailable:
            pass  # the others look every second
        except Exception as error:
            self._sending.drop()
            if not is_gone(error):
                log.error("a notification could not be sent", exc=error)

    # Hearing.

    async def _poll(self) -> None:
        while True:
            await asyncio.sleep(POLL_S)
            self._heard([])

    async def _listen(self) -> None:
        while True:
            try:
                link = await self._listening.link()
                await link.add_listener(CHANNEL, self._hear)
                self._heard([])  # anything may have been missed until now
                await self._stay(link)
            except StoreUnavailable:
                pass
            except Exception as error:
                if not is_gone(error):
                    log.error("listening broke", exc=error)
            self._listening.drop()
            await asyncio.sleep(POLL_S / 2)

    async def _stay(self, link: Link) -> None:
        """As long as the connection answers."""
        ended = asyncio.Event()
        link.add_termination_listener(lambda _: ended.set())
        while not link.is_closed():
            try:
                async with asyncio.timeout(ALIVE_S):
                    await ended.wait()
                return
            except TimeoutError:
                await link.execute("SELECT 1", timeout=ALIVE_S)

    def _hear(self, link: object, pid: int, channel: str, payload: object) -> None:
        assert isinstance(payload, str)
        name, kind = payload[:8], payload[8:9]
        if name == self._name:
            return
        text = payload.partition(" ")[2]
        try:
            if kind == "r":
                self._heard(_decode(text))
            else:
                self._hear_piece(name, base64.b64decode(text), is_last=kind == "t")
        except (msgspec.MsgspecError, ValueError):
            return  # not one of ours

    def _hear_piece(self, name: str, piece: bytes, *, is_last: bool) -> None:
        message = self._pieces.pop(name, b"") + piece
        if is_last:
            self._on_told(message)
        elif len(self._pieces) < PENDING_MAX:
            self._pieces[name] = message

    def _heard(self, rungs: list[Rung]) -> None:
        try:
            self._on_rung(rungs)
        except Exception as error:
            log.error("a listener broke", exc=error)


def _both(before: Rung, after: Rung) -> Rung:
    return Rung(
        after.run_id,
        is_ready=before.is_ready or after.is_ready,
        has_notice=before.has_notice or after.has_notice,
        taken_from=after.taken_from or before.taken_from,
    )


def _payloads(rungs: Iterable[Rung]) -> Iterator[str]:
    """The rungs as JSON arrays that each fit into a notification."""
    gathered: list[str] = []
    size = 2
    for rung in rungs:
        text = _encode(rung).decode()
        if size + len(text) + 1 > PAYLOAD_MAX and gathered:
            yield f"[{','.join(gathered)}]"
            gathered, size = [], 2
        gathered.append(text)
        size += len(text) + 1
    if gathered:
        yield f"[{','.join(gathered)}]"
