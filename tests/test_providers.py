"""Upstreams, aliases and prices in outlast.toml: what is read, what is refused, and that no key is said."""

import socket
from pathlib import Path

import msgspec
import pytest

from outlast import providers
from outlast.config import Settings, load
from outlast.errors import ConfigError
from outlast.handover import Handover, hand_over, take_over
from outlast.providers import ModelConfig, PriceConfig, UpstreamConfig

KEY = "sk-azure-0123456789"
FILE = """
models_only = true

[upstreams.azure]
base_url = "https://x.openai.azure.com/openai/v1/"
key_env = "AZURE_KEY"
key_header = "api-key"
query = {api-version = "2026-01-01"}
headers = {x-team = "agents"}
models = ["gpt-4*"]
prices = "azure"

[upstreams.claude]
kind = "anthropic"
key_file = "claude.key"

[models.fast]
upstream = "azure"
model = "gpt-4o-mini"
fallback = ["slow"]

[models.slow]
upstream = "azure"

[models.opus]
upstream = "claude"
model = "claude-opus-4-5"

[prices.fast]
input_per_mtok = 0.15
output_per_mtok = 1
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("claude.key").write_text(" sk-ant-1\n")


def loaded(text: str, **env: str) -> Settings:
    Path("outlast.toml").write_text(text)
    return load(env)


def test_upstreams_aliases_and_prices_are_read_with_their_keys() -> None:
    settings = loaded(FILE, AZURE_KEY=KEY)

    azure, claude = settings.upstreams["azure"], settings.upstreams["claude"]
    assert (azure.key, azure.address) == (KEY, "https://x.openai.azure.com/openai/v1")
    assert (azure.query, azure.headers) == ({"api-version": "2026-01-01"}, {"x-team": "agents"})
    assert (azure.allows("gpt-4.1"), azure.allows("o3")) == (True, False)
    assert (claude.key, claude.address) == ("sk-ant-1", "https://api.anthropic.com/v1")
    assert settings.models["fast"] == ModelConfig("azure", "gpt-4o-mini", ("slow",))
    assert settings.prices["fast"] == PriceConfig(0.15, 1.0)
    assert (settings.models_only, settings.has_model, settings.default_model) == (True, True, "fast")


def test_no_key_is_in_what_is_printed_of_them() -> None:
    settings = loaded(FILE, AZURE_KEY=KEY, OPENAI_API_KEY="sk-openai-1")

    assert settings.provider_keys == {KEY, "sk-ant-1", "sk-openai-1"}
    printed = f"{settings!r} {settings} {settings.upstreams!r} {settings.upstreams['azure']}"

    assert KEY not in printed
    assert "sk-" not in printed


def test_a_worker_is_handed_all_of_it() -> None:
    settings = loaded(FILE, AZURE_KEY=KEY, ANTHROPIC_API_KEY="sk-ant-2")
    ours, theirs = socket.socketpair()

    with ours, theirs:
        hand_over(ours, Handover(settings, None, "ins_1"))
        taken = take_over(theirs)

    assert taken.settings == settings
    assert taken.settings.upstreams["azure"].key == KEY


def test_a_missing_key_is_no_matter_until_models_are_called_from_here() -> None:
    settings = loaded(FILE)

    assert settings.upstreams["azure"].key is None
    with pytest.raises(ConfigError, match=r"\[upstreams.azure\] .* key_env = 'AZURE_KEY', which is not set"):
        providers.require_keys(settings.upstreams)


def test_an_upstream_that_needs_no_key_has_what_it_needs() -> None:
    providers.require_keys({"ollama": UpstreamConfig(base_url="http://127.0.0.1:11434/v1")})


UPSTREAM = '[upstreams.a]\nbase_url = "https://a.example/v1"\n'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f'{UPSTREAM}key = "{KEY}"', "a key has no place in this file"),
        (f'{UPSTREAM}key_env = "A"\nkey_file = "claude.key"', "exclude each other"),
        (f'{UPSTREAM}key_file = "nowhere"', "key_file nowhere cannot be read: No such file"),
        (f'{UPSTREAM}key_env = "BAD"', "characters that no HTTP header can carry"),
        (f'{UPSTREAM}headers = {{x-a = "b\\nc"}}', "a header has characters"),
        (f'{UPSTREAM}headers = {{"x a" = "b"}}', "'x a' is no header's name"),
        (f'{UPSTREAM}api_key = "{KEY}"', r"\[upstreams.a\] .* unknown field `api_key`"),
        ('[upstreams.a]\nbase_url = "a.example"', "base_url has to be a URL"),
        ('[upstreams.a]\nbase_url = "https://[::1"', "base_url has to be a URL"),
        ('[upstreams.a]\nbase_url = "https://a.example:99999/v1"', "base_url has to be a URL"),
        ('[upstreams.a]\nbase_url = "https://a.example/v1?x=1"', "say it as query"),
        ('[upstreams.a]\nkind = "cohere"', "'cohere'"),
        (f'{UPSTREAM}[models."x/y"]\nupstream = "a"', "an alias is a name without a slash"),
        (f'{UPSTREAM}[models.demo]\nupstream = "a"', "not default or demo"),
        (f'{UPSTREAM}[models.m]\nupstream = "b"', "Did you mean 'a'"),
        ('[models.m]\nupstream = "b"', r"there is no \[upstreams.b\]. Add it"),
        (f'{UPSTREAM}[models.m]\nupstream = "a"\nfallback = ["m"]', "fallback names 'm'"),
        (f'{UPSTREAM}[models.m]\nupstream = "a"\nfallback = ["n"]', "fallback names 'n'"),
        (
            f'{UPSTREAM}[upstreams.b]\nkind = "anthropic"\n[models.m]\nupstream = "a"\nfallback = ["n"]\n'
            '[models.n]\nupstream = "b"',
            "speaks another API",
        ),
        ("[prices.m]\ninput_per_mtok = -1\noutput_per_mtok = 1", r"\[prices.m\] .* >= 0"),
        ("[prices.m]\ninput_per_mtok = nan\noutput_per_mtok = 1", "prices.m"),
        ("[prices.m]\ninput_per_mtok = 1", "missing required field `output_per_mtok`"),
        (
            f'models_only = true\nmodel = "other"\n{UPSTREAM}[models.m]\nupstream = "a"',
            "OUTLAST_MODEL is other",
        ),
    ],
)
def test_what_cannot_be_is_named_without_a_key(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as refused:
        loaded(text, BAD="sk-\x07bell")

    assert KEY not in str(refused.value)
    assert "sk-" not in str(refused.value)


@pytest.mark.parametrize(
    ("settings", "model"),
    [
        (Settings(), None),
        (Settings(openai_api_key="k"), "gpt-4o-mini"),
        (Settings(anthropic_api_key="k"), None),
        (Settings(model="m", openai_api_key="k"), "m"),
    ],
)
def test_the_default_model_without_aliases_is_as_it_was(settings: Settings, model: str | None) -> None:
    assert settings.default_model == model


def test_the_first_alias_for_openais_dialect_is_the_default_where_there_is_no_other() -> None:
    settings = loaded(FILE.replace("models_only = true", ""), AZURE_KEY=KEY)
    claude_only = msgspec.structs.replace(settings, models={"opus": settings.models["opus"]})
    with_openai = msgspec.structs.replace(settings, openai_api_key="k")

    assert settings.default_model == "fast"
    assert claude_only.default_model is None
    assert with_openai.default_model == "gpt-4o-mini"
