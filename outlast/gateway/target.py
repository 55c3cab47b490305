"""Who can answer a call, as the settings say it: an address, a key, and how both are put on the wire.

A provider's key is read here and put on the wire by `forward`; no answer, error or log line carries it.
"""

import urllib.request
from urllib.parse import urlencode, urlsplit

import msgspec

from outlast.config import Settings
from outlast.errors import ConfigError
from outlast.gateway.dialect import Dialect
from outlast.providers import OPENAI, RESERVED, UpstreamConfig, place

_KEY_HEADERS = {"openai": "authorization", "anthropic": "x-api-key"}


class Target(msgspec.Struct, frozen=True):
    """Who answers a call."""

    base_url: str
    key: str | None = None
    proxy: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    """What is sent instead of the agent's headers of these names, the key among them."""
    query: str = ""
    """What is sent before the agent's query."""
    name: str | None = None
    """What the operator calls it; null for the upstream of OPENAI_API_KEY and that of ANTHROPIC_API_KEY."""
    setting: str = "OPENAI_BASE_URL"
    """Where its address comes from."""
    speaks: frozenset[Dialect] = frozenset(Dialect)
    prices: str | None = None
    """Whose prices it takes, where the operator says so."""
    is_local: bool = False
    """The small local model: nobody has to be paid."""

    def __repr__(self) -> str:
        """Without the key: this may get into a traceback."""
        return f"Target({self.place})"

    @property
    def place(self) -> str:
        """What may be said of it: host and port, nothing secret."""
        return place(self.base_url)

    def url(self, path: str, query: str) -> str:
        """Where a call goes."""
        queries = "&".join(filter(None, (self.query, query)))
        return self.base_url + path + (f"?{queries}" if queries else "")


def of_openai(settings: Settings) -> Target | None:
    """The one of OPENAI_API_KEY and OPENAI_BASE_URL, which also has what OUTLAST_MODEL names and nobody else has."""
    named = bool(settings.model) and not _is_known(str(settings.model), settings)
    keyed = bool(settings.openai_api_key) and settings.model != "demo"
    if not (settings.openai_base_url or keyed or named):
        return None
    upstream = UpstreamConfig(base_url=settings.openai_base_url, key=settings.openai_api_key)
    # OpenAI's own does not speak Anthropic's dialect; of others one cannot know.
    speaks = frozenset(Dialect) if settings.openai_base_url else frozenset({Dialect.OPENAI})
    return msgspec.structs.replace(_made("OPENAI_BASE_URL", upstream), speaks=speaks)


def of_anthropic(settings: Settings) -> Target | None:
    """The one of ANTHROPIC_API_KEY and ANTHROPIC_BASE_URL."""
    if not (settings.anthropic_api_key or settings.anthropic_base_url):
        return None
    upstream = UpstreamConfig(
        kind="anthropic", base_url=settings.anthropic_base_url, key=settings.anthropic_api_key
    )
    return _made("ANTHROPIC_BASE_URL", upstream)


def of_upstream(name: str, upstream: UpstreamConfig) -> Target:
    """The one of `[upstreams.NAME]`."""
    made = _made(f"base_url of [upstreams.{name}]", upstream)
    return msgspec.structs.replace(made, name=name)


def _is_known(model: str, settings: Settings) -> bool:
    allowed = any(upstream.allows(model) for upstream in settings.upstreams.values())
    return allowed or model in settings.models or model in RESERVED


def _made(setting: str, upstream: UpstreamConfig) -> Target:
    base_url = upstream.address
    parts = urlsplit(base_url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(f"{setting} has to be a URL such as {OPENAI}.")
    headers = [(name.lower(), value) for name, value in upstream.headers.items()]
    if upstream.key:
        # One of the two ways to say who asks has to give way; what is left would be told to every log on the way.
        base_url = base_url.replace(f"{parts.netloc}", parts.netloc.rpartition("@")[2], 1)
        headers.append(_key_header(upstream, upstream.key))
    return Target(
        base_url,
        upstream.key,
        _proxy(parts.scheme, parts.hostname),
        tuple(headers),
        urlencode(upstream.query),
        setting=setting,
        speaks=frozenset({Dialect(upstream.kind)}),
        prices=upstream.prices,
    )


def _key_header(upstream: UpstreamConfig, key: str) -> tuple[str, str]:
    name = (upstream.key_header or _KEY_HEADERS[upstream.kind]).lower()
    return name, f"Bearer {key}" if name == "authorization" else key


def _proxy(scheme: str, host: str) -> str | None:
    """The operator's proxy for this host (`HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, less `NO_PROXY`)."""
    if host == "localhost" or host.startswith("127.") or host == "::1" or urllib.request.proxy_bypass(host):
        return None
    proxies = urllib.request.getproxies()
    return proxies.get(scheme) or proxies.get("all")
