"""An agent that calls a model many times at once and says how long that took; `outlast.toml` beside it names it."""

import asyncio
import os
import random
import time

import aiohttp
import msgspec


class Order(msgspec.Struct):
    """What a caller is to do; it comes as the run's prompt."""

    direct: str | None
    """The provider's own address; null goes through the gateway."""
    model: str
    stream: bool
    callers: int
    """Calls at one time."""
    each: int
    """Calls of each, one after another."""
    apart_s: float = 0.0
    """The callers begin within so long."""


class Said(msgspec.Struct):
    """What came of it, in ns."""

    waits: list[int]
    """From the send of each call to its answer's end, or to its first piece if it is streamed."""
    late: list[int]
    """From the provider's send of each piece to its arrival here."""


def call(prompt: str) -> str:
    """The agent."""
    order = msgspec.json.decode(prompt, type=Order)
    return msgspec.json.encode(asyncio.run(_call(order))).decode()


async def _call(order: Order) -> Said:
    base = order.direct or os.environ["OPENAI_BASE_URL"]
    headers = {"authorization": f"Bearer {os.environ['OPENAI_API_KEY']}"}
    said = Said([], [])
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), headers=headers) as session:
        places = range(order.callers)
        await asyncio.gather(*(_caller(session, f"{base}/chat/completions", order, said) for _ in places))
    return said


async def _caller(session: aiohttp.ClientSession, url: str, order: Order, said: Said) -> None:
    await asyncio.sleep(random.uniform(0, order.apart_s))
    for _ in range(order.each):
        # No two calls are the same, or the gateway would know the answer.
        words = {"role": "user", "content": f"Say hello to {random.getrandbits(64)}."}
        body = {"model": order.model, "stream": order.stream, "messages": [words]}
        sent_at = time.monotonic_ns()
        async with session.post(url, json=body) as response:
            response.raise_for_status()
            if order.stream:
                await _pieces(response, sent_at, said)
            else:
                await response.read()
                said.waits.append(time.monotonic_ns() - sent_at)


async def _pieces(response: aiohttp.ClientResponse, sent_at: int, said: Said) -> None:
    is_first = True
    async for line in response.content:
        at = time.monotonic_ns()
        if is_first:
            said.waits.append(at - sent_at)
            is_first = False
        _, found, rest = line.partition(b'"content": "')
        if found:
            said.late.append(at - int(rest.partition(b'"')[0]))
