"""Where the server is and how it is reached."""

import os
from ipaddress import ip_address
from typing import TypedDict

import httpx

from outlast.client.errors import Misconfigured

DEFAULT_URL = "http://127.0.0.1:8005"
CONNECT_TIMEOUT_S = 5.0


class Settings(TypedDict):
    """What httpx's two clients are made with."""

    base_url: httpx.URL
    headers: dict[bytes, bytes]
    verify: bool
    trust_env: bool


def settings(url: str | None, api_key: str | None) -> Settings:
    """For the server at `url`, else `OUTLAST_URL`, else this machine; with `api_key`, else `OUTLAST_API_KEY`."""
    base_url = _address(url or os.environ.get("OUTLAST_URL") or DEFAULT_URL)
    return Settings(
        base_url=base_url,
        headers={b"User-Agent": b"outlast-client"} | _authorization(api_key),
        verify=base_url.scheme
        == "https",  # without TLS there is nothing to verify, and loading the roots takes 0.1 s
        trust_env=not _is_loopback(base_url),  # no proxy reaches this machine's loopback
    )


def timeout(read_s: float) -> httpx.Timeout:
    """An answer may take `read_s`; reaching the server may not."""
    return httpx.Timeout(read_s, connect=CONNECT_TIMEOUT_S)


def _address(text: str) -> httpx.URL:
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL as error:
        raise Misconfigured(f"{text!r} is not a URL: {error}.") from error
    if url.scheme not in ("http", "https") or not url.host:
        raise Misconfigured(f"{text!r} is not the address of a server; one looks like {DEFAULT_URL}.")
    return url


def _authorization(api_key: str | None) -> dict[bytes, bytes]:
    key = api_key or os.environ.get("OUTLAST_API_KEY") or ""
    if not key.isprintable():
        raise Misconfigured("The API key (OUTLAST_API_KEY) holds a control character, such as a line end.")
    return {b"Authorization": f"Bearer {key}".encode()} if key else {}


def _is_loopback(url: httpx.URL) -> bool:
    try:
        return url.host == "localhost" or ip_address(url.host).is_loopback
    except ValueError:
        return False
