"""Where a call goes: a provider of the operator's, or the small local model for the alias `demo`.

The provider's key is read here and put on the wire by `forward`; no answer, error or log line carries it.
"""

import asyncio
import urllib.request
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

import msgspec

from outlast import telemetry
from outlast.config import DEFAULT_MODEL, Settings
from outlast.errors import ConfigError, OutlastError
from outlast.gateway.answer import Refusal
from outlast.gateway.dialect import Dialect

OPENAI = "https://api.openai.com/v1"
ANTHROPIC = "https://api.anthropic.com"
DEMO = "demo"
"""The alias of the local model."""
DEFAULT = "default"
"""What an agent may call its run's model."""

LocalModel = Callable[[], Awaitable[str]]
"""Asked before each call to `demo` for the base URL, never twice at once; starts the model when it is not running."""

_log = telemetry.get("gateway")


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

    def __repr__(self) -> str:
        """Without the key: this may get into a traceback."""
        return f"Target({self.place})"

    def url(self, path: str, query: str) -> str:
        """Where a call goes."""
        queries = "&".join(filter(None, (self.query, query)))
        return self.base_url + path + (f"?{queries}" if queries else "")

    @property
    def place(self) -> str:
        """What may be said of it: host and port, nothing secret."""
        parts = urlsplit(self.base_url)
        return f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname)


class Route(msgspec.Struct, frozen=True):
    """One way for a call to be answered."""

    target: Target
    model: str | None
    """The model's name as the target knows it."""


class Upstreams:
    """The targets this server has, and which of them a model's name means."""

    def __init__(self, settings: Settings, local_model: LocalModel | None) -> None:
        """`ConfigError` when an address is no URL."""
        self._provider = _openai(settings)
        self._anthropic = _anthropic(settings)
        self._named = settings.model or DEFAULT_MODEL
        self._local_model = local_model
        self._starting = asyncio.Lock()

    @property
    def aliases(self) -> list[str]:
        """The models to name, the default first."""
        names = [self._named] if self._provider else []
        return [*names, DEMO] if self._local_model else names

    def names(self, dialect: Dialect) -> list[str]:
        """The models to name in this dialect."""
        return self.aliases if dialect is Dialect.OPENAI else []

    def meant(self, model: str | None, granted: str | None) -> str | None:
        """The model's name as its upstream knows it: `default` is the run's own, else the server's."""
        if model != DEFAULT:
            return model
        return granted or next(iter(self.aliases), DEFAULT)

    async def find(self, model: str | None, dialect: Dialect) -> tuple[Route, ...] | Refusal:
        """Who answers for this model, the first first; or the refusal that says why nobody does."""
        if model == DEMO and self._local_model is not None:
            local = await self._local(self._local_model)
            return local if isinstance(local, Refusal) else (Route(local, model),)
        target = self._default(dialect)
        return (Route(target, model),) if target is not None else self._none(model, dialect)

    def _default(self, dialect: Dialect) -> Target | None:
        if dialect is Dialect.ANTHROPIC and self._anthropic is not None:
            return self._anthropic
        provider = self._provider
        return provider if provider is not None and dialect in provider.speaks else None

    def _none(self, model: str | None, dialect: Dialect) -> Refusal:
        ways = "ANTHROPIC_API_KEY" if dialect is Dialect.ANTHROPIC else "OPENAI_API_KEY or OPENAI_BASE_URL"
        return Refusal(
            404,
            "no_model_configured",
            f"This server has no provider for the model {model!r}. Start it with {ways} set"
            + (f", or ask for the model {DEMO!r}." if self._local_model else "."),
        )

    async def _local(self, local_model: LocalModel) -> Target | Refusal:
        try:
            async with self._starting:
                return Target((await local_model()).rstrip("/"))
        except OutlastError as error:
            return Refusal(503, error.code, error.detail)
        except Exception as error:
            _log.error("local model did not start", exc=error)
            return Refusal(
                503, "local_model_failed", "The local model did not start; the server's log says why."
            )


def _openai(settings: Settings) -> Target | None:
    if not settings.has_model or (settings.model == DEMO and not settings.openai_base_url):
        return None
    # OpenAI's own does not speak Anthropic's dialect; of others one cannot know.
    speaks = frozenset(Dialect) if settings.openai_base_url else frozenset({Dialect.OPENAI})
    base_url = settings.openai_base_url or OPENAI
    return _target(base_url, "OPENAI_BASE_URL", settings.openai_api_key, "authorization", speaks)


def _anthropic(settings: Settings) -> Target | None:
    if not (settings.anthropic_api_key or settings.anthropic_base_url):
        return None
    base_url = (settings.anthropic_base_url or ANTHROPIC).rstrip("/").removesuffix("/v1") + "/v1"
    speaks = frozenset({Dialect.ANTHROPIC})
    return _target(base_url, "ANTHROPIC_BASE_URL", settings.anthropic_api_key, "x-api-key", speaks)


def _target(
    base_url: str, setting: str, key: str | None, key_header: str, speaks: frozenset[Dialect]
) -> Target:
    base_url = base_url.rstrip("/")
    parts = urlsplit(base_url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(f"{setting} has to be a URL such as https://api.openai.com/v1.")
    headers: tuple[tuple[str, str], ...] = ()
    if key:
        # One of the two ways to say who asks has to give way; what is left would be told to every log on the way.
        base_url = base_url.replace(f"{parts.netloc}", parts.netloc.rpartition("@")[2], 1)
        headers = ((key_header, f"Bearer {key}" if key_header == "authorization" else key),)
    proxy = _proxy(parts.scheme, parts.hostname)
    return Target(base_url, key, proxy, headers, setting=setting, speaks=speaks)


def _proxy(scheme: str, host: str) -> str | None:
    """The operator's proxy for this host (`HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, less `NO_PROXY`)."""
    if host == "localhost" or host.startswith("127.") or host == "::1" or urllib.request.proxy_bypass(host):
        return None
    proxies = urllib.request.getproxies()
    return proxies.get(scheme) or proxies.get("all")
