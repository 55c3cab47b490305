"""One try at delivering a notice: what is sent, and what the answer means."""

import asyncio
from email.utils import parsedate_to_datetime
from enum import StrEnum

import httpx
import msgspec

from outlast import __version__
from outlast.clock import Clock
from outlast.runs import Json, Notice
from outlast.webhooks.address import AddressRefused
from outlast.webhooks.sign import signature

ANSWER_MAX, ANSWER_S = 16 * 1024, 1.0
"""Bytes and seconds of an answer's body that are read (and thrown away) to keep the connection, else it is closed."""


class Verdict(StrEnum):
    """What a try came to."""

    DELIVERED = "delivered"
    AGAIN = "again"
    """Not delivered; another try may succeed."""
    NEVER = "never"
    """Not delivered, and no try will be."""


class Outcome(msgspec.Struct, frozen=True):
    """A verdict, its reason in words, and how long the receiver asked to be left alone."""

    verdict: Verdict
    reason: str
    pause_s: float = 0.0


class Message(msgspec.Struct, frozen=True):
    """A notice as it is sent this time."""

    notice: Notice
    attempt: int
    """1 for the first try."""
    body: bytes


def body_of(head: Json, result: Json | None) -> bytes:
    """The notice's JSON object, with the result put in as it was stored: not read, not rewritten."""
    if result is None:
        return head
    return b'%b,"result":%b}' % (head[:-1], result)


async def send(
    transport: httpx.AsyncBaseTransport, message: Message, key: bytes | None, clock: Clock, limit_s: float
) -> Outcome:
    """Make one try: a verdict within `limit_s`, whatever the receiver, the network or the address guard does.

    Straight through the transport: a client would keep the receiver's cookies and could follow redirects.
    """
    try:
        request = _request(message, key, clock.now() // 1000, limit_s)
        async with asyncio.timeout(limit_s):
            response = await transport.handle_async_request(request)
    except httpx.InvalidURL as error:
        return Outcome(Verdict.NEVER, f"not a URL: {error}")
    except AddressRefused as error:
        return Outcome(Verdict.NEVER if error.for_good else Verdict.AGAIN, f"not called: {error}")
    except httpx.HTTPError as error:
        return Outcome(Verdict.AGAIN, f"{type(error).__name__}: {error}".removesuffix(": "))
    except TimeoutError:
        return Outcome(Verdict.AGAIN, f"no answer in {limit_s:g} s")
    await _part_with(response)
    return _judge(response, clock.now())


def _request(message: Message, key: bytes | None, timestamp_s: int, limit_s: float) -> httpx.Request:
    headers = {
        "content-type": "application/json",
        "user-agent": f"outlast/{__version__}",
        "webhook-id": message.notice.id,
        "webhook-timestamp": str(timestamp_s),
        "webhook-attempt": str(message.attempt),
    }
    if key is not None:
        headers["webhook-signature"] = signature(key, message.notice.id, timestamp_s, message.body)
    # Half of the time for each address of a name, so that one that is down leaves time for the next.
    extensions = {"timeout": {"connect": limit_s / 2}}
    return httpx.Request(
        "POST", message.notice.url, headers=headers, content=message.body, extensions=extensions
    )


def _judge(response: httpx.Response, now: int) -> Outcome:
    status, reason = response.status_code, f"answered {response.status_code}"
    if response.is_success:
        return Outcome(Verdict.DELIVERED, reason)
    if status == httpx.codes.GONE:
        return Outcome(Verdict.NEVER, reason)
    if status in (httpx.codes.TOO_MANY_REQUESTS, httpx.codes.SERVICE_UNAVAILABLE):
        return Outcome(Verdict.AGAIN, reason, _retry_after_s(response.headers.get("retry-after", ""), now))
    return Outcome(Verdict.AGAIN, reason)


def _retry_after_s(value: str, now: int) -> float:
    """Seconds from now, whether the header gives seconds or a date; 0 if it gives neither."""
    if value.isascii() and value.isdecimal():
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - now / 1000)
    except (ValueError, OverflowError):
        return 0.0


async def _part_with(response: httpx.Response) -> None:
    """Let the connection be used again if the answer is short and there, else close it. Changes no verdict."""
    try:
        async with asyncio.timeout(ANSWER_S):
            read = 0
            async for chunk in response.aiter_raw():
                read += len(chunk)
                if read > ANSWER_MAX:
                    break
    except (httpx.HTTPError, TimeoutError):
        pass  # the status line was all we wanted
    finally:
        await response.aclose()
