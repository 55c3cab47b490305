"""`outlast serve` before the server is up: what the command line and the settings may say."""

import pytest

from outlast import __version__
from tests.cli.conftest import Outlast


@pytest.fixture(autouse=True)
def empty_folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path_factory.mktemp("empty"))


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--port", "70000"], "--port"),
        (["--log-format", "xml"], "--log-format"),
        (["pods"], "pods"),
        (["jobs", "--db", "jobs.db"], "--data-dir"),
    ],
)
def test_a_wrong_option_is_exit_2(outlast: Outlast, args: list[str], words: str) -> None:
    done = outlast("serve", *args)

    assert (done.code, done.out) == (2, "")
    assert words in done.err


def test_a_wrong_setting_is_exit_2_and_named(outlast: Outlast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUTLAST_LEASE_S", "never")

    done = outlast("serve")

    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("outlast: OUTLAST_LEASE_S (lease_s in outlast.toml) is wrong")


def test_version_is_the_packages(outlast: Outlast) -> None:
    assert outlast("--version").out == f"outlast {__version__}\n"
    assert outlast("version").out.startswith(f"outlast {__version__} (Python 3.")


def test_no_command_is_help(outlast: Outlast) -> None:
    done = outlast()

    assert done.code == 2
    assert "submit" in done.err
