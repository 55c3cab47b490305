"""Where a call goes: the operator's provider, or the small local model for the alias `demo`.

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

OPENAI = "https://api.openai.com/v1"
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

    @property
    def place(self) -> str:
        """What may be said of it: host and port, nothing secret."""
        parts = urlsplit(self.base_url)
        return f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname)


class Upstreams:
    """The targets this server has. A model's name chooses between them and is otherwise the provider's affair."""

    def __init__(self, settings: Settings, local_model: LocalModel | None) -> None:
        self._provider = _provider(settings)
        self._named = settings.model or DEFAULT_MODEL
        self._local_model = local_model
        self._starting = asyncio.Lock()

    @property
    def aliases(self) -> list[str]:
        """The models to name, the default first."""
        names = [self._named] if self._provider else []
        return [*names, DEMO] if self._local_model else names

    def meant(self, model: str | None, granted: str | None) -> str | None:
        """The model's name as the provider knows it: `default` is the run's own, else the server's."""
        if model != DEFAULT:
            return model
        return granted or next(iter(self.aliases), DEFAULT)

    async def find(self, model: str | None) -> Target | Refusal:
        """Who answers for this model, or the refusal that says why nobody does."""
        if model == DEMO and self._local_model is not None:
            return await self._local(self._local_model)
        if self._provider is not None:
            return self._provider
        return Refusal(
            404,
            "no_model_configured",
            f"This server has no provider for the model {model!r}. Start it with OPENAI_API_KEY or OPENAI_BASE_URL set"
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


def _provider(settings: Settings) -> Target | None:
    if not settings.has_model or (settings.model == DEMO and not settings.openai_base_url):
        return None
    base_url = (settings.openai_base_url or OPENAI).rstrip("/")
    parts = urlsplit(base_url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError("OPENAI_BASE_URL has to be a URL such as https://api.openai.com/v1.")
    if settings.openai_api_key:
        # One of the two ways to say who asks has to give way; what is left would be told to every log on the way.
        base_url = base_url.replace(f"{parts.netloc}", parts.netloc.rpartition("@")[2], 1)
    return Target(base_url, settings.openai_api_key, _proxy(parts.scheme, parts.hostname))


def _proxy(scheme: str, host: str) -> str | None:
    """The operator's proxy for this host (`HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, less `NO_PROXY`)."""
    if host == "localhost" or host.startswith("127.") or host == "::1" or urllib.request.proxy_bypass(host):
        return None
    proxies = urllib.request.getproxies()
    return proxies.get(scheme) or proxies.get("all")
