"""Which upstream a model's name means: the operator's aliases, what an upstream allows by name, else the provider of
OPENAI_API_KEY or ANTHROPIC_API_KEY; and `demo` is the small local model.
"""

import asyncio
from collections.abc import Awaitable, Callable

import msgspec

from outlast import telemetry
from outlast.config import DEFAULT_MODEL, Settings
from outlast.errors import OutlastError
from outlast.gateway.answer import Refusal
from outlast.gateway.dialect import Dialect
from outlast.gateway.target import Target, of_anthropic, of_openai, of_upstream

DEMO = "demo"
"""The alias of the local model."""
DEFAULT = "default"
"""What an agent may call its run's model."""

LocalModel = Callable[[], Awaitable[str]]
"""Asked before each call to `demo` for the base URL, never twice at once; starts the model when it is not running."""

_log = telemetry.get("gateway")


class Route(msgspec.Struct, frozen=True):
    """One way for a call to be answered."""

    target: Target
    alias: str | None
    """The model's name as a run knows it."""
    model: str | None
    """The model's name as the target knows it."""


class Upstreams:
    """The targets this server has, and which of them a model's name means."""

    def __init__(self, settings: Settings, local_model: LocalModel | None) -> None:
        """`ConfigError` when an address is no URL."""
        self._settings = settings
        self._openai = of_openai(settings)
        self._anthropic = of_anthropic(settings)
        self._targets = {name: of_upstream(name, each) for name, each in settings.upstreams.items()}
        self._local_model = local_model
        self._starting = asyncio.Lock()

    @property
    def aliases(self) -> list[str]:
        """The models to name in OpenAI's dialect, the default first."""
        return self.names(Dialect.OPENAI)

    def names(self, dialect: Dialect) -> list[str]:
        """The models to name in this dialect, the default first."""
        names = [alias for alias in self._settings.models if dialect in self._of_alias(alias).target.speaks]
        named = self._settings.default_model or (DEFAULT_MODEL if self._openai else None)
        if dialect is Dialect.OPENAI and named not in (None, DEMO):
            names.insert(0, str(named))
        if dialect is Dialect.OPENAI and self._local_model is not None:
            names.append(DEMO)
        return list(dict.fromkeys(names))

    def meant(self, model: str | None, granted: str | None) -> str | None:
        """The model's name as its run means it: `default` is the run's own, else the server's."""
        if model != DEFAULT:
            return model
        return granted or next(iter(self.aliases), DEFAULT)

    async def find(self, model: str | None, dialect: Dialect) -> tuple[Route, ...] | Refusal:
        """Who answers for this model, the first first; or the refusal that says why nobody does."""
        if model in self._settings.models:
            return self._by_alias(model, dialect)
        if model == DEMO and self._local_model is not None:
            local = await self._local(self._local_model)
            return local if isinstance(local, Refusal) else (Route(local, model, model),)
        target = self._by_name(model, dialect)
        return (Route(target, model, model),) if target is not None else self._nobody(model, dialect)

    def _by_alias(self, alias: str, dialect: Dialect) -> tuple[Route, ...] | Refusal:
        routes = [self._of_alias(each) for each in (alias, *self._settings.models[alias].fallback)]
        if dialect in routes[0].target.speaks:
            return tuple(routes)
        way = "/v1/messages" if dialect is Dialect.OPENAI else "/v1/chat/completions or /v1/responses"
        return Refusal(
            404, "wrong_dialect", f"The model {alias!r} is not to be had here: ask for it at {way}."
        )

    def _of_alias(self, alias: str) -> Route:
        model = self._settings.models[alias]
        return Route(self._targets[model.upstream], alias, model.model or alias)

    def _by_name(self, model: str | None, dialect: Dialect) -> Target | None:
        for name, upstream in self._settings.upstreams.items():
            if model is not None and upstream.allows(model) and dialect in self._targets[name].speaks:
                return self._targets[name]
        if self._settings.models_only:
            return None
        if dialect is Dialect.ANTHROPIC and self._anthropic is not None:
            return self._anthropic
        return self._openai if self._openai is not None and dialect in self._openai.speaks else None

    def _nobody(self, model: str | None, dialect: Dialect) -> Refusal:
        allowed = [
            *self.names(dialect),
            *(pattern for each in self._settings.upstreams.values() for pattern in each.models),
        ]
        if self._settings.models_only:
            words = f"This server does not let runs ask for the model {model!r}, only for: "
            return Refusal(404, "model_not_allowed", words + (", ".join(allowed) or "none") + ".")
        ways = "ANTHROPIC_API_KEY" if dialect is Dialect.ANTHROPIC else "OPENAI_API_KEY or OPENAI_BASE_URL"
        instead = f", or ask for one of: {', '.join(map(repr, allowed))}." if allowed else "."
        return Refusal(
            404,
            "no_model_configured",
            f"This server has no provider for the model {model!r}. Start it with {ways} set{instead}",
        )

    async def _local(self, local_model: LocalModel) -> Target | Refusal:
        try:
            async with self._starting:
                return Target((await local_model()).rstrip("/"), is_local=True)
        except OutlastError as error:
            return Refusal(503, error.code, error.detail)
        except Exception as error:
            _log.error("local model did not start", exc=error)
            return Refusal(
                503, "local_model_failed", "The local model did not start; the server's log says why."
            )
