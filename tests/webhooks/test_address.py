"""The address guard, at submit and at the connection."""

import socket
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from ssrfguard import Resolver

from outlast.config import Settings
from outlast.errors import ConfigError, WebhookRefused
from outlast.webhooks.address import AddressRefused, GuardedTransport, check_url, rules
from tests.webhooks.receiver import receiver, status

LITERALS = {
    "loopback": "http://127.0.0.1:9000/hook",
    "all of loopback": "http://127.9.9.9/",
    "this host": "http://0.0.0.0/",
    "private": "http://10.1.2.3/",
    "private 172": "http://172.31.255.255/",
    "private 192": "http://192.168.0.1/",
    "link-local": "http://169.254.1.1/",
    "metadata": "http://169.254.169.254/latest/meta-data/",
    "carrier-grade NAT": "http://100.64.0.1/",
    "multicast": "http://224.0.0.1/",
    "broadcast": "http://255.255.255.255/",
    "IPv6 loopback": "http://[::1]/",
    "IPv6 unspecified": "http://[::]/",
    "IPv6 unique local": "http://[fd00:ec2::254]/",
    "IPv6 link-local": "http://[fe80::1]/",
    "IPv4-mapped": "http://[::ffff:127.0.0.1]/",
    "IPv4-mapped hex": "http://[::ffff:7f00:1]/",
    "IPv4-compatible": "http://[::127.0.0.1]/",
    "NAT64": "http://[64:ff9b::7f00:1]/",
    "6to4": "http://[2002:7f00:1::]/",
    "Teredo": "http://[2001:0:7f00:1::]/",
}
DISGUISES = {
    "decimal": "http://2130706433/",
    "hex": "http://0x7f000001/",
    "hex parts": "http://0x7f.0.0.1/",
    "octal": "http://0177.0.0.1/",
    "short": "http://127.1/",
    "trailing dot": "http://127.0.0.1./",
    "circled digits": "http://①②⑦.⓪.⓪.①/",
    "percent-encoded": "http://%31%32%37.0.0.1/",
    "localhost": "http://localhost:8005/",
    "localhost, dot and case": "http://LocalHost./",
    "below localhost": "http://a.localhost/",
}
FORMS = {
    "file": "file:///etc/passwd",
    "ftp": "ftp://example.com/",
    "gopher": "gopher://example.com/",
    "no scheme": "example.com/hook",
    "relative": "//example.com/hook",
    "no host": "http:///hook",
    "empty": "",
    "user and password": "https://user:secret@example.com/",
    "user": "https://example.com@127.0.0.1/",
    "backslash": "http://example.com\\@127.0.0.1/",
    "blank": "http://exam ple.com/",
    "NUL": "http://example.com/\x00",
    "newline": "http://example.com/\nx",
    "port 0": "http://example.com:0/",
    "port too high": "http://example.com:65536/",
    "too long": "https://example.com/" + "x" * 2048,
    "zone": "http://[fe80::1%25eth0]/",
    "nothing after xn--": "http://xn--/",
    "nonsense after xn--": "http://xn--a.example/",
}


@pytest.mark.parametrize("url", [*LITERALS.values(), *DISGUISES.values(), *FORMS.values()])
def test_a_url_that_can_never_be_called_is_refused_at_submit(url: str) -> None:
    with pytest.raises(WebhookRefused, match="webhook_url") as refused:
        check_url(url, Settings())

    assert "secret" not in refused.value.detail


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/callback",
        "http://example.com:8080/a?b=c#d",
        "https://EXAMPLE.com./",
        "https://bücher.example/ü?q=ä",
        "http://93.184.215.14/",
        "http://[2606:2800:21f:cb07:6820:80da:af6b:8b2c]:8443/",
        "http://hooks.internal/",
        "https://localhost.example.com/",
    ],
)
def test_other_urls_are_accepted_without_a_look_up(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", _no_look_up)

    check_url(url, Settings())


def test_the_refusal_of_a_local_receiver_says_what_to_set() -> None:
    with pytest.raises(WebhookRefused) as refused:
        check_url("http://127.0.0.1:9000/hook", Settings())

    assert refused.value.detail == (
        "webhook_url is refused: 127.0.0.1 is not a public address (127.0.0.0/8 is Loopback (RFC1122)). "
        "To let it through, set OUTLAST_WEBHOOK_ALLOW=127.0.0.1 where the server runs."
    )


@pytest.mark.parametrize(
    ("allow", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:9000/hook"),
        ("127.0.0.1", "http://localhost:9000/hook"),
        ("localhost", "http://localhost./hook"),
        ("10.0.0.0/8", "http://10.200.1.1/"),
        ("10.1.2.3/8", "http://10.200.1.1/"),
        ("::1", "http://[::1]:9000/"),
        ("fd00::/8", "http://[fd12::1]/"),
        ("[::1]", "http://[::1]/"),
        ("hooks.internal", "http://HOOKS.internal/"),
        ("*.internal", "http://a.b.internal/"),
    ],
)
def test_what_is_let_through_is_accepted(allow: str, url: str) -> None:
    check_url(url, Settings(webhook_allow=(allow,)))


def test_what_is_let_through_lets_nothing_else_through() -> None:
    allow = ("127.0.0.1", "*.internal", "10.0.0.0/8")

    for url in ("http://127.0.0.2/", "http://192.168.0.1/", "http://[::1]/", "http://[::ffff:10.0.0.1]/"):
        with pytest.raises(WebhookRefused):
            check_url(url, Settings(webhook_allow=allow))


@pytest.mark.parametrize("entry", ["http://x", "127.0.0.1:80", "a b", "*", "a_b", "a/b", "64:ff9b::/96"])
def test_an_entry_that_means_nothing_is_refused_at_start(entry: str) -> None:
    with pytest.raises(ConfigError, match="OUTLAST_WEBHOOK_ALLOW"):
        rules((entry,))


# At the connection.


def _no_look_up(*args: object) -> list[object]:
    raise AssertionError("a name was looked up")


def answering(*addresses: str) -> Resolver:
    """A name server that gives every name these addresses."""

    def look_up(host: str, port: int, *rest: int) -> list[tuple[int, int, int, str, tuple[str, int]]]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    return look_up


@asynccontextmanager
async def guarded(*allow: str, resolver: Resolver | None = None) -> AsyncIterator[httpx.AsyncClient]:
    transport = GuardedTransport(allow, connections=10, resolver=resolver)
    async with httpx.AsyncClient(transport=transport, trust_env=False) as client:
        yield client


@pytest.mark.parametrize("url", LITERALS.values())
async def test_a_literal_is_refused_for_good_at_the_connection(url: str) -> None:
    async with guarded() as client:
        with pytest.raises(AddressRefused) as refused:
            await client.post(url)

    assert refused.value.for_good


@pytest.mark.parametrize("host", ["localhost", "0x7f.1", "0x7f000001"])
async def test_a_name_that_leads_here_is_refused_at_the_connection(host: str) -> None:
    async with receiver() as local, guarded() as client:
        with pytest.raises(AddressRefused) as refused:
            await client.post(f"http://{host}:{local.port}/")

        assert not refused.value.for_good
        assert local.connections == 0


async def test_a_name_that_leads_inside_is_refused_whatever_its_spelling() -> None:
    async with guarded(resolver=answering("10.0.0.1")) as client:
        for host in ("evil.example", "evil.example.", "EVIL.example"):
            with pytest.raises(AddressRefused, match=r"10\.0\.0\.0/8"):
                await client.post(f"http://{host}/")


async def test_a_name_is_looked_up_once_and_called_where_it_was_checked() -> None:
    answers = [["127.0.0.1"], ["169.254.169.254"]]
    look_ups: list[str] = []

    def rebinding(host: str, port: int, *rest: int) -> list[tuple[int, int, int, str, tuple[str, int]]]:
        look_ups.append(host)
        return list(answering(*answers.pop(0))(host, port))

    async with receiver() as local, guarded("127.0.0.1", resolver=rebinding) as client:
        answer = await client.post(f"http://evil.example:{local.port}/hook")

    assert answer.status_code == 200
    assert look_ups == ["evil.example"]
    assert local.requests[0].headers["host"] == f"evil.example:{local.port}"


async def test_a_name_with_some_refused_answers_is_called_at_the_others_only() -> None:
    async with (
        receiver() as local,
        guarded("127.0.0.1", resolver=answering("10.0.0.1", "127.0.0.1")) as client,
    ):
        await client.post(f"http://mixed.example:{local.port}/")

    assert local.connections == 1


async def test_a_host_let_through_is_called_wherever_it_leads_and_no_other() -> None:
    async with (
        receiver() as local,
        guarded("hooks.internal", resolver=answering("127.0.0.1")) as client,
    ):
        await client.post(f"http://hooks.internal:{local.port}/")
        with pytest.raises(AddressRefused):
            await client.post(f"http://evil-hooks.internal:{local.port}/")

    assert local.connections == 1


async def test_names_are_looked_up_off_the_event_loop() -> None:
    threads: list[int] = []

    def look_up(host: str, port: int, *rest: int) -> list[tuple[int, int, int, str, tuple[str, int]]]:
        threads.append(threading.get_ident())
        return list(answering("10.0.0.1")(host, port))

    async with guarded(resolver=look_up) as client:
        with pytest.raises(AddressRefused):
            await client.post("http://slow.example/")

    assert threads
    assert threading.get_ident() not in threads


async def test_no_proxy_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async with receiver() as proxy, receiver(status(204)) as local:
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.port}")
        monkeypatch.setenv("ALL_PROXY", f"http://127.0.0.1:{proxy.port}")
        async with guarded("127.0.0.1") as client:
            answer = await client.post(local.url)

    assert (answer.status_code, proxy.connections) == (204, 0)
