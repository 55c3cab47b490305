"""Who may come in: API keys, and without keys only what arrived at a loopback address and was meant for it.

A browser on this machine reaches loopback too, for any page whose name its owner bends there (DNS rebinding). It says
that name as the Host, which is how such a request is told from our user's.

Keys are compared in constant time, as digests, against all of them. Nothing here says which part was wrong.
"""

import hashlib
import hmac
import ipaddress
import re
from collections.abc import Sequence
from functools import lru_cache
from urllib.parse import urlsplit

from starlette.types import Scope

from outlast.errors import HostNotAllowed, Unauthorized, quoted
from outlast.runs import Caller

OPEN = frozenset({"/health"})
"""Answered to everybody: says only that the process is there."""
OPEN_BESIDE_KEYS = OPEN | {"/ready"}
"""What probes ask for, who cannot be handed a key; a server without keys shows it to its own machine only."""

HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+)(?::(\d{1,5}))?", re.ASCII)
"""A Host header: name or address, and port."""

_LOCAL = Caller()


class Door:
    """Admits a request as a `Caller`, or raises `Unauthorized` or, without keys, `HostNotAllowed`."""

    def __init__(self, keys: Sequence[str], public_url: str | None = None) -> None:
        self._public_host = urlsplit(public_url).hostname if public_url else None
        self._keys = [(_digest(key.encode()), Caller(key_id=key_id(key))) for key in keys]

    def admit(self, scope: Scope, path: str) -> Caller:
        """The caller behind this request. With keys, every path but the open ones needs one."""
        if self._keys:
            return _LOCAL if path in OPEN_BESIDE_KEYS else self._by_key(scope)
        if path in OPEN:
            return _LOCAL
        if not _arrived_at_loopback(scope):
            raise Unauthorized(
                "This server has no API keys, so it answers only on its own machine. "
                "Set OUTLAST_API_KEYS and send one as `Authorization: Bearer <key>` or `X-API-Key: <key>`."
            )
        host = _host(scope)
        if host and not _is_ours(host, self._public_host):
            raise HostNotAllowed(
                f"This server does not go by the name {quoted(host)}. Without API keys it answers to the names of its "
                "own machine and to that of OUTLAST_PUBLIC_URL; set that, or OUTLAST_API_KEYS."
            )
        return _LOCAL

    def _by_key(self, scope: Scope) -> Caller:
        presented = _presented(scope)
        if presented is None:
            raise Unauthorized(
                "An API key is needed: send it as `Authorization: Bearer <key>` or `X-API-Key: <key>`."
            )
        digest = _digest(presented)
        found = [caller for known, caller in self._keys if hmac.compare_digest(known, digest)]
        if not found:
            raise Unauthorized("The API key is not one of this server's.")
        return found[0]


def key_id(key: str) -> str:
    """The name under which a key's runs are recorded; tells the key to nobody."""
    return f"key_{hashlib.sha256(b'outlast key id ' + key.encode()).hexdigest()[:10]}"


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()


def _presented(scope: Scope) -> bytes | None:
    header: bytes
    for name, header in scope["headers"]:
        if name == b"x-api-key":
            return header.strip()
        if name == b"authorization" and header[:7].lower() == b"bearer ":
            return header[7:].strip()
    return None


def _host(scope: Scope) -> str:
    """The Host header; empty if there is none, which no browser leaves out."""
    header: bytes
    for name, header in scope["headers"]:
        if name == b"host":
            return header.decode("latin-1")
    return ""


@lru_cache(maxsize=256)
def _is_ours(host: str, public_host: str | None) -> bool:
    match = HOST.fullmatch(host)
    name = match[1].lower() if match is not None else ""
    return is_loopback(name) or (public_host is not None and name.strip("[]") == public_host)


def _arrived_at_loopback(scope: Scope) -> bool:
    server: tuple[str, int | None] | None = scope.get("server")
    return server is not None and is_loopback(server[0])


@lru_cache(maxsize=256)
def is_loopback(host: str) -> bool:
    """Whether a host name or address means this very machine."""
    if host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback
