"""`outlast model pull` and `outlast demo` where there is no model and no way to one."""

from pathlib import Path

import pytest

from tests.cli.conftest import Outlast
from tests.client.scripted import vacant_url

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def without_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OUTLAST_MODEL_CACHE", str(tmp_path / "models"))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_INDEX_URL", vacant_url())
    monkeypatch.setenv("PIP_RETRIES", "0")
    for name in (
        "PIP_FIND_LINKS",
        "PIP_EXTRA_INDEX_URL",
        "OPENAI_API_KEY",
        "OPENAI_BASE_URL",
        "OPENAI_MODEL_NAME",
    ):
        monkeypatch.delenv(name, raising=False)


def test_a_pull_that_fails_is_exit_1_and_says_why(outlast: Outlast) -> None:
    done = outlast("model", "pull", "demo")

    assert (done.code, done.out) == (1, "")
    assert "could not download" in done.err


def test_another_model_is_exit_2(outlast: Outlast) -> None:
    assert outlast("model", "pull", "gpt-4").code == 2


def test_a_demo_without_any_model_is_honest_and_says_three_ways_to_one(
    outlast: Outlast, tmp_path: Path
) -> None:
    done = outlast("demo")

    assert done.code == 1
    assert "no_model_configured" in done.err
    for way in ("export OPENAI_API_KEY=", "export OPENAI_BASE_URL=", "outlast model pull demo"):
        assert way in done.err
    assert "toy" in done.out
