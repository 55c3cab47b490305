"""The address guard: which receivers this server calls. Asked at submit, and again for every connection.

At submit nothing is looked up: only what can never be called is refused. At a connection `ssrfguard` looks the name
up once, in a thread, checks every answer, and connects to an answer it checked, so a name that moves between check
and connect moves nothing. No proxy is used and no redirect is followed.

OUTLAST_WEBHOOK_ALLOW lets through addresses and CIDRs (whatever name leads there) and hosts (wherever they lead).
See docs/decisions/0010-webhook-address-guard.md.
"""

import re
import socket
from collections.abc import Sequence
from functools import lru_cache
from ipaddress import ip_address, ip_network

import httpx
import msgspec
from ssrfguard import (
    DEFAULT_DENIED,
    AddressTable,
    BlockedAddressError,
    BlockedURLError,
    Policy,
    Reach,
    Resolver,
)
from ssrfguard.httpx import AsyncSafeTransport

from outlast.config import Settings
from outlast.errors import ConfigError, WebhookRefused

URL_MAX = 2048
_HOST = re.compile(r"(\*\.)?([^\W_]|-)+(\.([^\W_]|-)+)*\.?")


class Rules(msgspec.Struct, frozen=True):
    """What OUTLAST_WEBHOOK_ALLOW comes to."""

    public: Policy
    """Any host, at public addresses and those let through."""
    named: Policy
    """Only the hosts let through, at any address."""
    names_any: bool

    def policy_for(self, host: str) -> Policy:
        """The policy that decides about this host (in its ASCII form)."""
        return self.named if self.names_any and _lists(self.named, host) else self.public


@lru_cache(maxsize=4)
def rules(allow: tuple[str, ...]) -> Rules:
    """The rules of these settings; `ConfigError` names an entry that means nothing."""
    networks = [entry for entry in allow if _is_network(entry)]
    hosts = [entry for entry in allow if entry not in networks]
    for host in hosts:
        if not _HOST.fullmatch(host):
            raise ConfigError(
                f"OUTLAST_WEBHOOK_ALLOW has {host!r}: an entry is a host, an address or a CIDR, without scheme or port."
            )
    ports = frozenset(range(1, 65_536))
    try:
        return Rules(
            # A name with public and private answers is called at its public ones: only they are ever connected to.
            Policy(
                allowed_ports=ports,
                allowed_networks=tuple(ip_network(n.strip("[]"), strict=False) for n in networks),
                on_partial_block="drop",
                max_url_length=URL_MAX,
            ),
            Policy(
                allowed_ports=ports,
                allowed_hosts=frozenset(hosts),
                denied_networks=AddressTable(()),
                max_url_length=URL_MAX,
            ),
            bool(hosts),
        )
    except ValueError as error:
        raise ConfigError(f"OUTLAST_WEBHOOK_ALLOW is wrong: {error}.") from error


def check_url(url: str, settings: Settings) -> None:
    """Refuse a webhook URL that can never be called, without looking up its name.

    `WebhookRefused` says why, and what to set on the server where that would help. A URL that passes may still lead
    to a private address; that shows at the connection, and the delivery is tried again later.
    """
    if len(url) > URL_MAX:
        raise WebhookRefused(f"webhook_url has {len(url)} characters; the most it may have is {URL_MAX}.")
    try:
        parsed = httpx.URL(url)
        _check_form(parsed)  # reads the host, and only then is what follows xn-- decoded
    except (httpx.InvalidURL, UnicodeError) as error:
        raise WebhookRefused(f"webhook_url is not a URL: {error}") from error
    _check_host(parsed, rules(settings.webhook_allow))


def _check_form(url: httpx.URL) -> None:
    if url.scheme not in ("http", "https") or not url.host:
        raise WebhookRefused("webhook_url has to begin with http:// or https:// and a host.")
    if url.userinfo:
        raise WebhookRefused(
            "webhook_url carries a user name or password; put a token in its path or query, or verify the signature."
        )


def _check_host(url: httpx.URL, allowed: Rules) -> None:
    host = _host(url)
    policy = allowed.policy_for(host)
    try:
        policy.check_url(str(url))
        meant = _address_meant(host)
        if meant is not None and policy is not allowed.named:
            policy.check_address(meant)
    except BlockedAddressError as error:
        raise WebhookRefused(_not_public(host, error)) from error
    except BlockedURLError as error:
        if isinstance(error.__cause__, BlockedAddressError):
            raise WebhookRefused(_not_public(host, error.__cause__)) from error
        raise WebhookRefused(f"webhook_url is refused: {error.reason}.") from error


def _address_meant(host: str) -> str | None:
    """The address a name means whatever the name servers say."""
    if host == "localhost" or host.endswith(".localhost"):
        return "127.0.0.1"
    try:
        # 0x7f.1, 0x7f000001: names to a URL parser, addresses to the resolver.
        return socket.inet_ntoa(socket.inet_aton(host))
    except OSError:
        return None


def _not_public(host: str, error: BlockedAddressError) -> str:
    why = f"webhook_url is refused: {host} is not a public address ({error.reason})."
    block = DEFAULT_DENIED.match(ip_address(error.address))
    if block is not None and block.reach is Reach.TRANSLATED:
        return f"{why} Name the IPv4 address itself, which then needs to be let through."
    return f"{why} To let it through, set OUTLAST_WEBHOOK_ALLOW={error.address} where the server runs."


def _is_network(entry: str) -> bool:
    try:
        ip_network(entry.strip("[]"), strict=False)
    except ValueError:
        return False
    return True


def _host(url: httpx.URL) -> str:
    return url.raw_host.decode("ascii").removesuffix(".")


def _lists(policy: Policy, host: str) -> bool:
    try:
        policy.check_host(host)
    except BlockedURLError:
        return False
    return True


class AddressRefused(Exception):
    """The guard let no request out."""

    def __init__(self, reason: str, *, for_good: bool) -> None:
        super().__init__(reason)
        self.for_good = for_good
        """The URL itself is refused; otherwise its name may lead elsewhere another time."""


class GuardedTransport(httpx.AsyncBaseTransport):
    """Connects only to addresses the rules let through, never through a proxy; else raises `AddressRefused`.

    Honours SSL_CERT_FILE, for receivers with a certificate of the operator's own. `resolver` stands in for
    `socket.getaddrinfo` in tests; whatever it answers is checked.
    """

    def __init__(self, allow: Sequence[str], *, connections: int, resolver: Resolver | None = None) -> None:
        self._rules = rules(tuple(allow))
        context = httpx.create_ssl_context()
        limits = httpx.Limits(max_connections=connections, max_keepalive_connections=20, keepalive_expiry=5)
        self._public, self._named = (
            AsyncSafeTransport(policy=policy, resolver=resolver, verify=context, limits=limits)
            for policy in (self._rules.public, self._rules.named)
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        policy = self._rules.policy_for(_host(request.url))
        transport = self._named if policy is self._rules.named else self._public
        try:
            return await transport.handle_async_request(request)
        except BlockedURLError as error:
            raise AddressRefused(error.reason, for_good=True) from error
        except BlockedAddressError as error:
            raise AddressRefused(error.reason, for_good=False) from error

    async def aclose(self) -> None:
        await self._public.aclose()
        await self._named.aclose()
