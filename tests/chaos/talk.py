"""One client's conversation with the servers: whatever it asks is written down, and so is what it hears."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Protocol

import aiohttp

from tests.chaos.history import Call, History, Seen, Stream

ANSWER_S = 10.0
SILENCE_S = 8.0
"""A stream that says nothing for so long is dead: it has a heartbeat."""
TROUBLE = (aiohttp.ClientError, TimeoutError, OSError, ValueError)


class Chance(Protocol):
    """What is drawn at random here."""

    def randrange(self, stop: int, /) -> int: ...
    def uniform(self, a: float, b: float) -> float: ...


class Talk:
    """Asks one server or the other, and stays with neither."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        urls: Sequence[str],
        history: History,
        client: str,
        chance: Chance,
    ) -> None:
        self._session = session
        self._urls = urls
        self._history = history
        self._client = client
        self._chance = chance

    async def ask(
        self,
        method: str,
        path: str,
        body: str | None = None,
        *,
        key: str | None = None,
        again: int = 0,
        answer_s: float = ANSWER_S,
    ) -> Call:
        """One request to some server."""
        server = self._chance.randrange(len(self._urls))
        asked_at = time.monotonic()
        status, answer, headers = await self._send(server, method, path, body, key, answer_s)
        call = Call(
            asked_at=asked_at,
            answered_at=time.monotonic(),
            client=self._client,
            server=server,
            method=method,
            path=path,
            key=key,
            body=body,
            again=again,
            status=status,
            answer=answer,
            replayed=headers.get("Idempotency-Replayed") == "true",
            retry_after="Retry-After" in headers,
        )
        self._history.write(call)
        return call

    async def _send(
        self, server: int, method: str, path: str, body: str | None, key: str | None, answer_s: float
    ) -> tuple[int | None, str, Mapping[str, str]]:
        headers = {"Content-Type": "application/json"} if body is not None else {}
        if key is not None:
            headers["Idempotency-Key"] = key
        timeout = aiohttp.ClientTimeout(total=answer_s)
        try:
            async with self._session.request(
                method, self._urls[server] + path, data=body, headers=headers, timeout=timeout
            ) as answer:
                return answer.status, await answer.text(), answer.headers
        except TROUBLE as error:
            return None, f"{type(error).__name__}: {error}", {}

    async def insist(
        self,
        method: str,
        path: str,
        body: str | None = None,
        *,
        key: str | None = None,
        until: float,
        answer_s: float = ANSWER_S,
    ) -> Call | None:
        """The same request until it is answered with anything but 503; None if it is not by that time."""
        again = 0
        while time.monotonic() < until:
            call = await self.ask(method, path, body, key=key, again=again, answer_s=answer_s)
            if call.status not in (None, 503):
                return call
            again += 1
            await asyncio.sleep(self._chance.uniform(0.05, min(1.0, 0.1 * 2**again)))
        return None

    async def stream(self, run_id: str, after: int = 0, leave_after: int = 1_000_000) -> Stream:
        """One connection to a run's events; it is left after so many of them."""
        server = self._chance.randrange(len(self._urls))
        asked_at = time.monotonic()
        events: list[Seen] = []
        status, done, why = None, False, ""
        try:
            async with self._session.get(
                f"{self._urls[server]}/api/v1/runs/{run_id}/stream",
                headers={"Last-Event-ID": str(after)} if after else {},
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=SILENCE_S),
            ) as answer:
                status = answer.status
                done = await _read(answer, events, leave_after) if status == 200 else False
        except TROUBLE as error:
            why = f"{type(error).__name__}: {error}"
        stream = Stream(
            asked_at=asked_at,
            ended_at=time.monotonic(),
            client=self._client,
            server=server,
            run_id=run_id,
            after=after,
            status=status,
            events=events,
            done=done,
            why=why,
        )
        self._history.write(stream)
        return stream


async def _read(answer: aiohttp.ClientResponse, events: list[Seen], leave_after: int) -> bool:
    """Collect events as they come; whether `[DONE]` came."""
    number = 0
    async for raw in answer.content:
        line = raw.decode().rstrip("\n")
        if line.startswith("id: "):
            number = int(line[4:])
        elif line == "data: [DONE]":
            return True
        elif line.startswith("data: "):
            events.append(Seen(time.monotonic(), number, line[6:]))
            if len(events) >= leave_after:
                return False
    return False
