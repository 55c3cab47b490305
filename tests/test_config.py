"""Settings: where they come from, and what is said about wrong ones."""

import re
from pathlib import Path

import pytest

from outlast.config import Settings, load, peer_leftovers, unknown_variables
from outlast.errors import ConfigError


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_nothing_set_is_safe_on_a_laptop() -> None:
    settings = load({})

    assert settings == Settings()
    assert settings.host == "127.0.0.1"
    assert not settings.has_model


def test_every_kind_of_setting_is_read_from_the_environment() -> None:
    settings = load(
        {
            "OUTLAST_DATA_DIR": "~/runs",
            "OUTLAST_PORT": "9000",
            "OUTLAST_LEASE_S": "2.5",
            "OUTLAST_ALLOW_TOOLS": "true",
            "OUTLAST_API_KEYS": "one, two",
            "OUTLAST_WEBHOOK_RETRY": "1,2.5",
            "OPENAI_API_KEY": "sk-1",
            "OPENAI_MODEL_NAME": "some-model",
        }
    )

    assert settings.data_dir == Path.home() / "runs"
    assert (settings.port, settings.lease_s, settings.allow_tools) == (9000, 2.5, True)
    assert (settings.api_keys, settings.webhook_retry) == (("one", "two"), (1.0, 2.5))
    assert (settings.openai_api_key, settings.model, settings.has_model) == ("sk-1", "some-model", True)


def test_the_command_line_wins_over_the_environment_and_that_over_the_file(tmp_path: Path) -> None:
    Path("outlast.toml").write_text(
        'port = 1\nhost = "127.0.0.2"\ndata_dir = "runs"\n[agents.a]\nfunction = "m:f"\n'
    )

    settings = load({"OUTLAST_PORT": "2", "OUTLAST_CONCURRENCY": "3"}, port=4, host=None)

    assert (settings.port, settings.host, settings.concurrency) == (4, "127.0.0.2", 3)
    assert settings.data_dir == Path("runs")
    assert settings.agents["a"].function == "m:f"


@pytest.mark.parametrize(
    ("env", "named"),
    [
        ({"OUTLAST_PORT": "http"}, "OUTLAST_PORT"),
        ({"OUTLAST_PORT": "70000"}, "OUTLAST_PORT"),
        ({"OUTLAST_LEASE_S": "0"}, "OUTLAST_LEASE_S"),
        ({"OUTLAST_DEFAULT_TIMEOUT_S": "90000"}, "OUTLAST_MAX_TIMEOUT_S"),
        ({"OUTLAST_LOG_FORMAT": "xml"}, "OUTLAST_LOG_FORMAT"),
        ({"OUTLAST_CONFIG": "nowhere.toml"}, "nowhere.toml"),
        ({"OUTLAST_SESSION_CONCURRENCY": "0"}, "OUTLAST_SESSION_CONCURRENCY"),
        ({"OUTLAST_TENANT_CONCURRENCY": "9" * 30}, "OUTLAST_TENANT_CONCURRENCY"),
        ({"OUTLAST_LEASE_S": "inf"}, "OUTLAST_LEASE_S"),
        ({"OUTLAST_GRACE_S": "-1"}, "OUTLAST_GRACE_S"),
        ({"OUTLAST_STOP_GRACE_S": "nan"}, "OUTLAST_STOP_GRACE_S"),
        ({"OUTLAST_WEBHOOK_RETRY": "1,-1"}, "OUTLAST_WEBHOOK_RETRY"),
        ({"OUTLAST_WEBHOOK_RETRY": "1,nan"}, "OUTLAST_WEBHOOK_RETRY"),
        ({"OUTLAST_MEMORY_LIMIT_MB": "-1"}, "OUTLAST_MEMORY_LIMIT_MB"),
        ({"OUTLAST_MEMORY_LIMIT_MB": "64"}, "OUTLAST_MEMORY_LIMIT_MB"),
        ({"OUTLAST_AGENT_ROOT": "nowhere"}, "OUTLAST_AGENT_ROOT"),
        ({"OUTLAST_PUBLIC_URL": "agents.example.com"}, "OUTLAST_PUBLIC_URL"),
        ({"OUTLAST_PUBLIC_URL": "https://agents.example.com/?a=b"}, "OUTLAST_PUBLIC_URL"),
        ({"OUTLAST_PUBLIC_URL": "https://[agents/"}, "OUTLAST_PUBLIC_URL"),
    ],
)
def test_a_wrong_setting_is_named(env: dict[str, str], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        load(env)


def test_a_key_of_the_file_that_is_not_known_names_the_nearest() -> None:
    Path("outlast.toml").write_text("concurency = 3")

    with pytest.raises(ConfigError, match=r"concurency.*Did you mean 'concurrency'"):
        load({})


@pytest.mark.parametrize("text", ["port = ", "colour = 1"])
def test_a_wrong_file_is_named(text: str) -> None:
    Path("outlast.toml").write_text(text)

    with pytest.raises(ConfigError, match=r"outlast\.toml"):
        load({})


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('[agents.good]\nfunction = "m:f"\n[agents.bad]\nfunctoin = "m:f"', r"\[agents\.bad\]"),
        ('[agents.bad]\nfunction = "m:f"\nmax_running = 0', r"\[agents\.bad\]"),
        ('[agents]\nbad = "m:f"', r"\[agents\.bad\]"),
        ('[mcp.bad]\nargs = "x"', r"\[mcp\.bad\]"),
        ('agents = "bad"', "agents"),
    ],
)
def test_a_wrong_table_of_the_file_is_named(text: str, named: str) -> None:
    Path("outlast.toml").write_text(text)

    with pytest.raises(ConfigError, match=named):
        load({})


@pytest.mark.parametrize("option", ["data_dir", "agent_root"])
def test_an_empty_folder_name_does_not_mean_the_working_directory(option: str) -> None:
    with pytest.raises(ConfigError, match=option):
        load({}, **{option: ""})


def test_no_grace_and_no_memory_limit_can_be_asked_for() -> None:
    settings = load({"OUTLAST_GRACE_S": "0", "OUTLAST_STOP_GRACE_S": "0", "OUTLAST_MEMORY_LIMIT_MB": "0"})

    assert (settings.grace_s, settings.stop_grace_s, settings.memory_limit_mb) == (0, 0, 0)


def test_a_key_that_would_be_lost_in_a_migration_refuses_to_start() -> None:
    with pytest.raises(ConfigError, match="OUTLAST_API_KEYS"):
        load({"PRAISONAI_JOBS_API_KEY": "k"})

    assert load({"PRAISONAI_JOBS_API_KEY": "k", "OUTLAST_API_KEYS": "k"}).api_keys == ("k",)


def test_leftovers_of_the_peer_are_named_with_our_equivalent() -> None:
    said = peer_leftovers({"PRAISONAI_JOBS_DB_PATH": "x", "PRAISONAI_JOBS_NEW": "y", "PATH": "z"})

    assert said == [
        "PRAISONAI_JOBS_DB_PATH is set but Outlast does not read it: set OUTLAST_DATA_DIR instead.",
        "PRAISONAI_JOBS_NEW is set but Outlast does not read it: it has no equivalent here; "
        "docs/migrate-from-praisonai.md says why.",
    ]


def test_every_setting_has_its_heading_its_variable_and_its_default() -> None:
    page = (Path(__file__).parents[1] / "docs" / "settings.md").read_text()
    parts = re.split(r"^### (.+)$", page, flags=re.MULTILINE)
    said = dict(zip(parts[1::2], parts[2::2], strict=True))

    assert set(said) == {_heading(name) for name in Settings.__struct_fields__}
    for name, default in zip(Settings.__struct_fields__, Settings.__struct_defaults__, strict=True):
        section = said[_heading(name)]
        assert f"`{name}`" in section or name in _TABLES
        assert f"default `{_text(default)}`" in section or "default: " in section, name


def test_the_settings_pages_file_is_one() -> None:
    page = (Path(__file__).parents[1] / "docs" / "settings.md").read_text()
    Path("outlast.toml").write_text(page.split("```toml\n")[1].split("```")[0])

    settings = load({})

    assert settings.data_dir == Path("/var/lib/outlast")
    assert settings.agents["triage"].function == "agents:triage"


_TABLES = ("agents", "mcp", "upstreams", "models", "prices")


def _heading(name: str) -> str:
    if name in _TABLES:
        return name
    return name.upper() if name.startswith(("openai_", "anthropic_")) else f"OUTLAST_{name.upper()}"


def _text(default: object) -> str:
    if isinstance(default, tuple):
        return ",".join(str(part) for part in default)
    return str(default).lower() if isinstance(default, bool) else str(default)


def test_a_variable_that_nothing_reads_names_the_nearest() -> None:
    said = unknown_variables(
        {"OUTLAST_CONCURENCY": "3", "OUTLAST_PORT": "1", "OUTLAST_URL": "x", "HOME": "y"}
    )

    assert said == ["OUTLAST_CONCURENCY is set but nothing reads it. Did you mean 'OUTLAST_CONCURRENCY'?"]


def test_every_variable_that_our_code_or_documents_name_is_known() -> None:
    root = Path(__file__).parents[1]
    texts = [file.read_text() for file in [*root.glob("outlast/**/*.py"), *root.glob("docs/**/*.md")]]
    named = {name for text in texts for name in re.findall(r"\bOUTLAST_[A-Z_]*[A-Z]\b", text)}

    assert unknown_variables(dict.fromkeys(named, "")) == []
