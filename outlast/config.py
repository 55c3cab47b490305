"""Every setting: its default here, its environment variable `OUTLAST_<NAME>`, its key `<name>` in outlast.toml.

The environment wins over the file. Settings are read once at start; a wrong one is a `ConfigError` that names it.
"""

import math
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

import msgspec
import platformdirs

from outlast import providers
from outlast.errors import ConfigError, did_you_mean
from outlast.providers import ModelConfig, PriceConfig, UpstreamConfig

DEFAULT_MODEL = "gpt-4o-mini"
"""Asked for when an API key or base URL is set and no model is named; said at start."""


Places = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]


class AgentConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[agents.NAME]` in outlast.toml: an agent that clients ask for with `"agent": "NAME"`."""

    function: str | None = None
    """`module:callable`, sync or async, importable from the agent root; called with the prompt, or (prompt, run)."""
    command: tuple[str, ...] | None = None
    """Or a program and its arguments, started in the agent root; the prompt is its `OUTLAST_PROMPT` and its stdin."""
    env: dict[str, str] = {}
    """What a command finds in its environment on top. Read where the run is carried out, and stored nowhere."""
    description: str = ""
    max_running: Places | None = None
    """How many of its runs go at one time; null is no limit."""

    def __post_init__(self) -> None:
        if (self.function is None) == (self.command is None):
            raise ValueError("It needs a function or a command, one of the two")
        if self.command is not None and not (self.command and self.command[0]):
            raise ValueError("Its command is empty")
        if self.env and self.command is None:
            raise ValueError("env is for a command; a function has none of its own")
        if any("\0" in word for word in (*(self.command or ()), *self.env, *self.env.values())):
            raise ValueError("A program can be given no NUL character")


class McpServer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[mcp.NAME]` in outlast.toml: an MCP server that an agents.yaml may name. Its command is the operator's alone."""

    command: str | None = None
    args: tuple[str, ...] = ()
    env: dict[str, str] = {}
    url: str | None = None


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The server's settings. Safe on a laptop as they stand; docs say what production changes."""

    data_dir: Path = Path(platformdirs.user_data_dir("outlast", appauthor=False))
    database_url: str | None = None
    database_listen: bool = True
    """Off behind a pooler that gives out connections for one transaction each: then servers look every second."""
    migrate: Literal["auto", "off"] = "auto"
    """Whether a server brings the schema up to date at its start, or refuses to start while something is missing."""
    host: str = "127.0.0.1"
    port: int = 8005
    public_url: str | None = None
    model: str | None = None
    openai_api_key: str | None = None
    openai_base_url: str | None = None
    anthropic_api_key: str | None = None
    anthropic_base_url: str | None = None
    journal: Literal["exact", "normalised"] = "exact"
    """What makes two model calls of a run the same: every word, or all but times, dates, ids and temporary paths."""
    agent_root: Path = Path()
    """Agent files, tools.py and function modules are found below it and nowhere else."""
    allow_tools: bool = False
    """Let an agents.yaml use the functions of `tools.py` under the agent root."""
    api_keys: tuple[str, ...] = ()
    webhook_allow: tuple[str, ...] = ()
    webhook_secret: str | None = None
    webhook_retry: tuple[float, ...] = (1.0, 5.0, 15.0, 60.0, 300.0)
    """Seconds before each further try."""
    lease_s: float = 30.0
    concurrency: int = 10
    shared_concurrency: int = 1000
    shared_hosts: int = 1
    """Asyncio processes that carry shared attempts."""
    worker_name: str | None = None
    """What people call this worker; the host's name unless it is set."""
    queues: tuple[str, ...] = ()
    """The queues this worker serves; none named means all of them."""
    session_concurrency: Places | None = None
    """Runs of one session at one time, unless the session says otherwise; null is no limit."""
    tenant_concurrency: Places | None = None
    """Runs of one tenant at one time; null is no limit."""
    default_timeout_s: int = 3600
    max_timeout_s: int = 86_400
    grace_s: float = 30.0
    """How long a drain lets runs finish before it hands them back."""
    stop_grace_s: float = 1.0
    """How long a cancelled agent may clean up before its processes are killed."""
    memory_limit_mb: int = 4096
    """What an isolated process may allocate; 0 is no limit."""
    max_body_bytes: int = 10 * 1024 * 1024
    cors_origins: tuple[str, ...] = ()
    log_format: str = "text"
    agents: dict[str, AgentConfig] = {}
    mcp: dict[str, McpServer] = {}
    upstreams: dict[str, UpstreamConfig] = {}
    models: dict[str, ModelConfig] = {}
    models_only: bool = False
    """Let runs ask for the aliases of `models` and for what an upstream allows by name, and for nothing else."""
    prices: dict[str, PriceConfig] = {}

    def __repr__(self) -> str:
        """Without the keys and passwords: this may get into a traceback."""
        return f"Settings(data_dir={str(self.data_dir)!r})"

    @property
    def has_model(self) -> bool:
        """Whether the operator named a provider or a model (the small local one is asked about elsewhere)."""
        return bool(self.openai_api_key or self.openai_base_url or self.model or self.models)

    @property
    def provider_keys(self) -> frozenset[str]:
        """What no agent, log or answer may have."""
        keys = {self.openai_api_key, self.anthropic_api_key, *(each.key for each in self.upstreams.values())}
        return frozenset(key for key in keys if key)

    @property
    def default_model(self) -> str | None:
        """What runs that name no model ask for: what is set, else the provider's, else the first alias that fits."""
        if self.model is not None:
            return self.model
        if (self.openai_api_key or self.openai_base_url) and not self.models_only:
            return DEFAULT_MODEL
        fitting = (
            alias for alias, each in self.models.items() if self.upstreams[each.upstream].kind == "openai"
        )
        return next(fitting, None)


_LISTS = frozenset({"api_keys", "webhook_allow", "webhook_retry", "cors_origins", "queues"})
_TABLES = {
    "agents": AgentConfig,
    "mcp": McpServer,
    "upstreams": UpstreamConfig,
    "models": ModelConfig,
    "prices": PriceConfig,
}
_VARIABLES = {
    name: name.upper() if name.startswith(("openai_", "anthropic_")) else f"OUTLAST_{name.upper()}"
    for name in Settings.__struct_fields__
    if name not in _TABLES
}

_READ_ELSEWHERE = frozenset({
    "OUTLAST_API_KEY", "OUTLAST_ATTEMPT", "OUTLAST_CONFIG", "OUTLAST_MARK", "OUTLAST_MODEL_CACHE", "OUTLAST_PROMPT",
    "OUTLAST_RUN_ID", "OUTLAST_RUN_TOKEN", "OUTLAST_RUN_URL", "OUTLAST_URL",
})  # fmt: skip
"""Variables of the clients, of the local model and of agents' processes."""

_PEER_VARIABLES = {
    "PRAISONAI_JOBS_API_KEY": "OUTLAST_API_KEYS",
    "PRAISONAI_JOBS_AGENT_ROOT": "OUTLAST_AGENT_ROOT",
    "PRAISONAI_JOBS_BIND_HOST": "OUTLAST_HOST",
    "PRAISONAI_JOBS_DB_PATH": "OUTLAST_DATA_DIR",
    "PRAISONAI_JOBS_DEFAULT_TIMEOUT": "OUTLAST_DEFAULT_TIMEOUT_S",
    "PRAISONAI_JOBS_HOST": "OUTLAST_HOST",
    "PRAISONAI_JOBS_MAX_CONCURRENT": "OUTLAST_CONCURRENCY",
    "PRAISONAI_JOBS_PORT": "OUTLAST_PORT",
    "PRAISONAI_JOB_TIMEOUT": "OUTLAST_DEFAULT_TIMEOUT_S",
    "PRAISONAI_MAX_CONCURRENT_JOBS": "OUTLAST_CONCURRENCY",
    "JOBS_CORS_ORIGINS": "OUTLAST_CORS_ORIGINS",
}
"""What the peer's documents and code name; docs/migrate-from-praisonai.md says it to people."""


def load(env: Mapping[str, str], **overrides: object) -> Settings:
    """The settings from outlast.toml (`OUTLAST_CONFIG`, else ./outlast.toml), the environment, and the command line."""
    values = {**_from_file(env), **_from_env(env), **{k: v for k, v in overrides.items() if v is not None}}
    _refuse_peer_key(env, values)
    try:
        settings = msgspec.convert(values, Settings, strict=False, dec_hook=_convert)
    except msgspec.ValidationError as error:
        raise ConfigError(_name_setting(error, values)) from error
    settings = msgspec.structs.replace(settings, upstreams=providers.with_keys(settings.upstreams, env))
    _check(settings)
    return settings


def of_store(env: Mapping[str, str], data_dir: str | None) -> Settings:
    """The settings for a look at a store; a folder that is named on the command line wins over a database."""
    settings = load(env, data_dir=data_dir)
    return settings if data_dir is None else msgspec.structs.replace(settings, database_url=None)


def _convert(kind: type, value: object) -> object:
    if kind is Path and isinstance(value, str):
        if not value:
            raise ValueError("It is empty")  # and would mean the working directory
        return Path(value).expanduser()
    raise NotImplementedError


def peer_leftovers(env: Mapping[str, str]) -> list[str]:
    """A sentence for each PraisonAI jobs variable in the environment: they have no effect here."""
    return [
        _leftover(name)
        for name in sorted(env)
        if name.startswith("PRAISONAI_JOBS_") or name in _PEER_VARIABLES
    ]


def unknown_variables(env: Mapping[str, str]) -> list[str]:
    """A sentence for each variable that looks like one of ours and is none."""
    known = _READ_ELSEWHERE.union(_VARIABLES.values())
    return [
        f"{name} is set but nothing reads it. {did_you_mean(name, sorted(known))}"
        for name in sorted(env)
        if name.startswith("OUTLAST_") and name not in known
    ]


def _leftover(name: str) -> str:
    ours = _PEER_VARIABLES.get(name)
    remedy = (
        f"set {ours} instead"
        if ours
        else "it has no equivalent here; docs/migrate-from-praisonai.md says why"
    )
    return f"{name} is set but Outlast does not read it: {remedy}."


def _refuse_peer_key(env: Mapping[str, str], values: Mapping[str, object]) -> None:
    if env.get("PRAISONAI_JOBS_API_KEY") and not values.get("api_keys"):
        raise ConfigError(
            "PRAISONAI_JOBS_API_KEY is set but OUTLAST_API_KEYS is not: this server would be open where the old one "
            "asked for a key. Set OUTLAST_API_KEYS to the keys it should accept, or unset PRAISONAI_JOBS_API_KEY."
        )


def _from_env(env: Mapping[str, str]) -> dict[str, object]:
    found = {name: env[variable] for name, variable in _VARIABLES.items() if env.get(variable)}
    values: dict[str, object] = {
        name: _split(text) if name in _LISTS else text for name, text in found.items()
    }
    if "model" not in values and env.get("OPENAI_MODEL_NAME"):
        values["model"] = env["OPENAI_MODEL_NAME"]
    return values


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _from_file(env: Mapping[str, str]) -> dict[str, object]:
    path = Path(env.get("OUTLAST_CONFIG") or "outlast.toml")
    if not path.exists():
        if "OUTLAST_CONFIG" in env:
            raise ConfigError(f"OUTLAST_CONFIG names {path}, which does not exist.")
        return {}
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error
    unknown = sorted(set(values) - set(Settings.__struct_fields__))
    if unknown:
        hint = did_you_mean(unknown[0], Settings.__struct_fields__)
        raise ConfigError(f"{path} has a key that Outlast does not know: {', '.join(unknown)}. {hint}")
    return values


def _name_setting(error: msgspec.ValidationError, values: Mapping[str, object]) -> str:
    words = str(error)
    for name, kind in _TABLES.items():
        table = values.get(name)
        if f"$.{name}[...]" in words and isinstance(table, dict):
            return _name_table(name, table, kind) or words
    for name, variable in _VARIABLES.items():
        if f"$.{name}" in words:
            return f"{variable} ({name} in outlast.toml) is wrong: {words}."
    return f"A setting is wrong: {words}."


def _name_table(name: str, table: Mapping[str, object], kind: type) -> str | None:
    for key, value in table.items():
        try:
            msgspec.convert(value, kind, strict=False)
        except msgspec.ValidationError as error:
            return f"[{name}.{key}] in outlast.toml is wrong: {error}."
    return None


_POSITIVE = (
    "lease_s", "concurrency", "shared_concurrency", "shared_hosts", "default_timeout_s", "max_timeout_s",
    "max_body_bytes",
)  # fmt: skip
_NOT_NEGATIVE = ("grace_s", "stop_grace_s")
_LEAST_MEMORY_MB = 128
"""With less, not even Outlast's own part of an agent's process runs."""


def _check(settings: Settings) -> None:
    for name in _POSITIVE:
        if not 0 < getattr(settings, name) < math.inf:
            raise ConfigError(f"{_VARIABLES[name]} is {getattr(settings, name)}; it has to be above 0.")
    for name in _NOT_NEGATIVE:
        if not 0 <= getattr(settings, name) < math.inf:
            raise ConfigError(f"{_VARIABLES[name]} is {getattr(settings, name)}; it has to be 0 or above.")
    if not all(0 <= pause < math.inf for pause in settings.webhook_retry):
        raise ConfigError("OUTLAST_WEBHOOK_RETRY is wrong: seconds are 0 or above.")
    _check_the_rest(settings)


def _check_models(settings: Settings) -> None:
    providers.check(settings.upstreams, settings.models, settings.prices)
    model = settings.model
    if not settings.models_only or model in (None, *settings.models, *providers.RESERVED):
        return
    if not any(upstream.allows(str(model)) for upstream in settings.upstreams.values()):
        raise ConfigError(
            f"OUTLAST_MODEL is {model}, which is no alias of [models] in outlast.toml, and OUTLAST_MODELS_ONLY is set."
        )


def _check_the_rest(settings: Settings) -> None:
    _check_models(settings)
    if not settings.agent_root.is_dir():
        raise ConfigError(f"OUTLAST_AGENT_ROOT is {settings.agent_root}, and there is no such folder.")
    if settings.public_url is not None and not _is_base(settings.public_url):
        raise ConfigError("OUTLAST_PUBLIC_URL has to be a URL such as https://agents.example.com.")
    if settings.memory_limit_mb != 0 and settings.memory_limit_mb < _LEAST_MEMORY_MB:
        raise ConfigError(
            f"OUTLAST_MEMORY_LIMIT_MB can be 0, which is no limit, or {_LEAST_MEMORY_MB} or more."
        )
    if not 0 <= settings.port <= 65_535:
        raise ConfigError(f"OUTLAST_PORT is {settings.port}; a port is a number from 0 to 65535.")
    if settings.default_timeout_s > settings.max_timeout_s:
        raise ConfigError(
            f"OUTLAST_DEFAULT_TIMEOUT_S ({settings.default_timeout_s}) is above "
            f"OUTLAST_MAX_TIMEOUT_S ({settings.max_timeout_s})."
        )
    if settings.log_format not in ("text", "json"):
        raise ConfigError(f"OUTLAST_LOG_FORMAT is {settings.log_format!r}; it can be text or json.")


def _is_base(url: str) -> bool:
    """Whether paths can be appended to it."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname) and not (parts.query or parts.fragment)
