"""Sends a call to its target until it is answered or patience ends. What comes back is passed on as it came.

The HTTP client is imported with this module, which is therefore loaded off the event loop (`calls.py`): it takes a
third of a second that no request should wait for.
"""

import asyncio
import errno
import io
import os
from itertools import count

import aiohttp
import msgspec
from yarl import URL

from outlast import telemetry
from outlast.gateway.answer import JSON, NO_RETRY, Ask, BrokenOff, Header, Refusal
from outlast.gateway.patience import Patience
from outlast.gateway.target import Target

CONNECT_S = 15.0
IDLE_S = 600.0
"""A provider may think for so long between two bytes."""
MAX_ANSWER = 64 * 1024 * 1024

_log = telemetry.get("gateway")

_HOP = frozenset(
    {
        b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"proxy-connection", b"te",
        b"trailer", b"transfer-encoding", b"upgrade", b"content-length",
    }
)  # fmt: skip
_NOT_SENT = _HOP | {
    b"host",
    b"authorization",
    b"api-key",
    b"x-api-key",
    b"cookie",
    b"accept-encoding",
    b"expect",
}
_NOT_PASSED = _HOP | {b"set-cookie", b"alt-svc"}


class Stream:
    """An answer that is still coming."""

    def __init__(self, response: aiohttp.ClientResponse, place: str) -> None:
        self._response = response
        self._place = place

    async def read(self) -> bytes:
        """What has come, empty at the end; `BrokenOff` if it stopped before."""
        try:
            return await self._response.content.readany()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise BrokenOff(_why(error, self._place)) from error

    def close(self) -> None:
        """Let go. Before the end it cuts the connection, so that the provider stops."""
        self._response.close()


class Heard(msgspec.Struct, frozen=True):
    """What the target answered, or what stands for it when it did not."""

    status: int
    headers: tuple[Header, ...]
    body: bytes
    """Whole, or the first bytes of the stream."""
    stream: Stream | None = None
    tries: int = 1
    answered: bool = True
    """False when the target did not, and the gateway says why."""


class Forward:
    """One pool of connections to providers."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._session = aiohttp.ClientSession(
            # Runs wait for models, not for each other: the number of connections is bounded by that of runs.
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=20),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S, sock_read=IDLE_S),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            skip_auto_headers=("User-Agent", "Content-Type", "Accept"),
        )

    async def close(self) -> None:
        """Close them all."""
        await self._session.close()

    async def send(self, target: Target, ask: Ask) -> Heard:
        """The target's answer. Until its first byte is here the call may be tried again; after that never."""
        paused_s = 0.0
        for tries in count(1):
            heard = await self._try(target, ask)
            pause = self._patience.pause(heard.status, heard.headers, tries, paused_s)
            if pause is None:
                return msgspec.structs.replace(heard, tries=tries)
            _log.info(
                "model call tried again", to=target.place, status=heard.status, tries=tries, pause_s=pause
            )
            await asyncio.sleep(pause)
            paused_s += pause
        raise AssertionError("unreachable")

    async def _try(self, target: Target, ask: Ask) -> Heard:
        try:
            return await self._exchange(target, ask)
        except aiohttp.ClientConnectorCertificateError as error:
            return _no_answer(ask, 502, "provider_unreachable", _why(error, target.place), NO_RETRY)
        except aiohttp.SocketTimeoutError as error:
            return _no_answer(ask, 504, "provider_silent", _why(error, target.place), NO_RETRY)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            return _no_answer(ask, 502, "provider_unreachable", _why(error, target.place))

    async def _exchange(self, target: Target, ask: Ask) -> Heard:
        response = await self._session.post(
            URL(target.url(ask.path, ask.query), encoded=True),
            data=io.BytesIO(ask.body),
            headers=_sent(target, ask),
            proxy=target.proxy,
            allow_redirects=False,
        )
        try:
            return await self._hear(target, ask, response)
        except BaseException:
            response.close()
            raise

    async def _hear(self, target: Target, ask: Ask, response: aiohttp.ClientResponse) -> Heard:
        if 300 <= response.status < 400:
            response.close()
            where = response.headers.get("location", "nowhere")
            return _no_answer(
                ask,
                502,
                "provider_redirects",
                f"{target.place} redirects to {where}; set {target.setting} to that.",
                NO_RETRY,
            )
        headers = _passed(response)
        if response.status == 200 and response.content_type == "text/event-stream":
            first = await response.content.readany()
            return Heard(200, headers, first, Stream(response, target.place))
        body = await _whole(response)
        if body is None:
            return _no_answer(
                ask, 502, "answer_too_large", f"{target.place} sent more than {MAX_ANSWER} bytes.", NO_RETRY
            )
        if response.status >= 400 and target.key:
            body = body.replace(target.key.encode(), b"***")
        if response.status == 429 and b"insufficient_quota" in body:
            headers += (NO_RETRY,)
        return Heard(response.status, headers, body)


def _sent(target: Target, ask: Ask) -> list[tuple[str, str]]:
    own = {name.encode("latin-1") for name, _ in target.headers}
    headers = [
        (name.decode("latin-1"), value.decode("latin-1"))
        for name, value in ask.headers
        if name not in _NOT_SENT and name not in own
    ]
    # What is counted has to be read, and nobody gains from compression on loopback.
    headers.append(("accept-encoding", "identity"))
    return [*headers, *target.headers]


def _passed(response: aiohttp.ClientResponse) -> tuple[Header, ...]:
    lowered = ((name.lower(), value) for name, value in response.raw_headers)
    return tuple((name, value) for name, value in lowered if name not in _NOT_PASSED)


async def _whole(response: aiohttp.ClientResponse) -> bytes | None:
    """The body, or None when it is larger than the gateway holds in memory."""
    body = bytearray()
    while piece := await response.content.readany():
        body += piece
        if len(body) > MAX_ANSWER:
            response.close()
            return None
    return bytes(body)


def _no_answer(ask: Ask, status: int, code: str, message: str, *headers: Header) -> Heard:
    return Heard(status, (JSON, *headers), Refusal(status, code, message).body(ask.dialect), answered=False)


def _why(error: BaseException, place: str) -> str:
    """A sentence without the words of the exception: they may quote the URL and what is secret in it."""
    match error:
        case aiohttp.ClientConnectorCertificateError():
            return f"The TLS certificate of {place} was not accepted."
        case aiohttp.ClientConnectorDNSError():
            return f"The name of {place} could not be resolved."
        case aiohttp.ClientHttpProxyError():
            return f"The proxy on the way to {place} answered {error.status}."
        case aiohttp.ClientProxyConnectionError():
            return f"The proxy on the way to {place} could not be reached."
        case aiohttp.SocketTimeoutError():
            return f"{place} sent nothing for {IDLE_S:.0f} s."
        case aiohttp.ConnectionTimeoutError():
            return f"{place} did not accept a connection within {CONNECT_S:.0f} s."
        case aiohttp.ClientConnectorError():
            return f"{place} could not be reached: {os.strerror(error.os_error.errno or errno.EIO)}."
        case _:
            return f"{place} closed the connection before its answer was complete."
