"""What the doctor says of upstreams: where they are and what they are for, and never a word of a key."""

from outlast.config import Settings
from outlast.doctor import Level, models
from outlast.providers import ModelConfig, UpstreamConfig


def test_upstreams_are_shown_with_their_aliases_and_without_their_keys() -> None:
    settings = Settings(
        upstreams={
            "azure": UpstreamConfig(base_url="https://me:pw@x.openai.azure.com/v1", key="sk-1", key_env="K"),
            "house": UpstreamConfig(base_url="http://127.0.0.1:8000/v1"),
            "claude": UpstreamConfig(kind="anthropic", key_env="CLAUDE_KEY"),
        },
        models={"fast": ModelConfig("azure"), "slow": ModelConfig("azure")},
    )

    found = [(finding.level, finding.says) for finding in models.check(settings)]

    assert found == [
        (Level.OK, "azure is openai at x.openai.azure.com, for fast, slow."),
        (Level.OK, "house is openai at 127.0.0.1:8000, without an alias."),
        (
            Level.NOTE,
            "[upstreams.claude] in outlast.toml has key_env = 'CLAUDE_KEY', which is not set.",
        ),
    ]
