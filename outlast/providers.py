"""Upstreams, model aliases and prices as the operator wrote them in outlast.toml, and what can be wrong with them.

A provider's key is read at start from a variable or a file that is named there; no message says a word of it.
"""

import math
import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

import msgspec

from outlast.errors import ConfigError, did_you_mean

RESERVED = frozenset({"default", "demo"})
"""Names that mean the run's own model, and the small local one."""
OPENAI = "https://api.openai.com/v1"
ANTHROPIC = "https://api.anthropic.com"

_KEY = re.compile(r"[\x21-\x7e]+")
_HEADER = re.compile(r"[A-Za-z0-9-]+")

UsdPerMtok = Annotated[float, msgspec.Meta(ge=0, le=1_000_000)]
"""US dollars for a million tokens."""


class UpstreamConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[upstreams.NAME]`: a provider of models, and how it is asked."""

    kind: Literal["openai", "anthropic"] = "openai"
    """Whose API it speaks."""
    base_url: str | None = None
    key_env: str | None = None
    """The variable that its key is in."""
    key_file: Path | None = None
    """The file that its key is in."""
    key_header: str | None = None
    """Where it wants the key; `authorization` means as a bearer. What its kind does, unless it is said."""
    query: dict[str, str] = {}
    headers: dict[str, str] = {}
    models: tuple[str, ...] = ()
    """Names or patterns (`gpt-*`) of models that may be asked of it as they are called there, without an alias."""
    prices: str | None = None
    """Whose prices it takes, as genai-prices names providers; found out from the address unless it is said."""
    key: str | None = None
    """Never from the file: what `key_env` or `key_file` led to."""

    def __repr__(self) -> str:
        """Without the key, and the headers that may be another: this may get into a traceback."""
        return f"UpstreamConfig({self.place})"

    @property
    def address(self) -> str:
        """Its base URL, ending in what the paths of its API follow on."""
        if self.kind == "anthropic":
            return (self.base_url or ANTHROPIC).rstrip("/").removesuffix("/v1") + "/v1"
        return (self.base_url or OPENAI).rstrip("/")

    @property
    def place(self) -> str:
        """What may be said of its address."""
        return place(self.address)

    @property
    def has_key(self) -> bool:
        """False when a key is named that was not found; one that needs none has what it needs."""
        return self.key is not None or (self.key_env is None and self.key_file is None)

    def allows(self, model: str) -> bool:
        """Whether this name may be asked of it without an alias."""
        return any(fnmatchcase(model, pattern) for pattern in self.models)


class ModelConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[models.ALIAS]`: what a model that runs ask for is called at which upstream."""

    upstream: str
    model: str | None = None
    """The provider's name for it; the alias itself unless it is said."""
    fallback: tuple[str, ...] = ()
    """Aliases that are asked, one after another, when the gateway gives up on this one's upstream."""


class PriceConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[prices.MODEL]`: what an alias or a provider's model costs, in place of what is known of it."""

    input_per_mtok: UsdPerMtok
    output_per_mtok: UsdPerMtok
    cache_read_per_mtok: UsdPerMtok | None = None
    """As other input unless it is said."""
    cache_write_per_mtok: UsdPerMtok | None = None
    """As other input unless it is said."""


def place(url: str) -> str:
    """Host and port: what may be said of an address without giving a secret away."""
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname)


def with_keys(upstreams: Mapping[str, UpstreamConfig], env: Mapping[str, str]) -> dict[str, UpstreamConfig]:
    """The upstreams with their keys; one whose key is not there goes without, until `require_keys` says so."""
    return {
        name: msgspec.structs.replace(upstream, key=_key(name, upstream, env))
        for name, upstream in upstreams.items()
    }


def require_keys(upstreams: Mapping[str, UpstreamConfig]) -> None:
    """Refuse to start where models are called from while a key is missing."""
    for name, upstream in upstreams.items():
        if not upstream.has_key:
            raise ConfigError(missing_key(name, upstream))


def missing_key(name: str, upstream: UpstreamConfig) -> str:
    """What is wrong with an upstream whose key was not found."""
    where = (
        f"key_env = {upstream.key_env!r}, which is not set"
        if upstream.key_env
        else "a key_file that is empty"
    )
    return f"[upstreams.{name}] in outlast.toml has {where}."


def _key(name: str, upstream: UpstreamConfig, env: Mapping[str, str]) -> str | None:
    if upstream.key is not None:
        raise _wrong(
            f"upstreams.{name}",
            "a key has no place in this file. Put it into a variable or a file of its own, and name that with key_env "
            "or key_file",
        )
    if upstream.key_env is not None and upstream.key_file is not None:
        raise _wrong(f"upstreams.{name}", "key_env and key_file exclude each other")
    key = _read(name, upstream.key_file) if upstream.key_file else env.get(upstream.key_env or "", "").strip()
    if key and not _KEY.fullmatch(key):
        raise _wrong(f"upstreams.{name}", "its key has characters that no HTTP header can carry")
    return key or None


def _read(name: str, path: Path) -> str:
    try:
        return path.expanduser().read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise _wrong(f"upstreams.{name}", f"its key_file {path} cannot be read: {why}") from error


def check(
    upstreams: Mapping[str, UpstreamConfig],
    models: Mapping[str, ModelConfig],
    prices: Mapping[str, PriceConfig],
) -> None:
    """`ConfigError` for what does not fit together."""
    for name, upstream in upstreams.items():
        _check_upstream(f"upstreams.{name}", upstream)
    for alias, model in models.items():
        _check_alias(alias, model, upstreams, models)
    for name, price in prices.items():
        if not all(math.isfinite(usd) for usd in msgspec.structs.astuple(price) if usd is not None):
            raise _wrong(f"prices.{name}", "a price is a number")


def _check_upstream(where: str, upstream: UpstreamConfig) -> None:
    try:
        parts = urlsplit(upstream.address)
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        raise _wrong(where, "base_url has to be a URL such as https://api.example.com/v1") from None
    if not sound:
        raise _wrong(where, "base_url has to be a URL such as https://api.example.com/v1")
    if parts.query or parts.fragment:
        raise _wrong(where, 'base_url has a query; say it as query = {name = "value"}')
    for name in (*upstream.headers, *filter(None, [upstream.key_header])):
        if not _HEADER.fullmatch(name):
            raise _wrong(where, f"{name!r} is no header's name")
    if not all(value.isascii() and value.isprintable() for value in upstream.headers.values()):
        raise _wrong(where, "a header has characters that no header can carry")


def _check_alias(
    alias: str,
    model: ModelConfig,
    upstreams: Mapping[str, UpstreamConfig],
    models: Mapping[str, ModelConfig],
) -> None:
    where = f"models.{alias}"
    if not alias or "/" in alias or alias in RESERVED:
        raise _wrong(
            f'models."{alias}"',
            "an alias is a name without a slash, which agents' frameworks would take for a provider's, and is not "
            'default or demo. Name the model itself with model = "…"',
        )
    if model.upstream not in upstreams:
        hint = did_you_mean(model.upstream, upstreams) or "Add it as [upstreams.NAME]."
        raise _wrong(where, f"there is no [upstreams.{model.upstream}]. {hint}".rstrip("."))
    for other in model.fallback:
        if other not in models or other == alias:
            raise _wrong(where, f"fallback names {other!r}, which is no other alias")
        theirs = upstreams.get(models[other].upstream)
        if theirs is not None and theirs.kind != upstreams[model.upstream].kind:
            raise _wrong(where, f"fallback names {other!r}, whose upstream speaks another API")


def _wrong(where: str, why: str) -> ConfigError:
    return ConfigError(f"[{where}] in outlast.toml is wrong: {why}.")
