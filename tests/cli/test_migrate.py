"""`outlast migrate`, on both stores, and servers that may not do it by themselves."""

import asyncio
import subprocess
import sys
from collections.abc import Coroutine, Iterator
from pathlib import Path

import pytest

from outlast.clock import SystemClock
from outlast.config import Settings
from outlast.errors import ConfigError
from outlast.store.choose import schema_of, store_of
from outlast.store.migrate import Lag
from outlast.store.protocol import Store
from tests.cli.conftest import Outlast
from tests.postgres import Postgres


@pytest.fixture(params=["sqlite", "postgres"])
def settings(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Settings]:
    """Those of a store that is not there yet, in the environment too."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OUTLAST_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.delenv("OUTLAST_DATABASE_URL", raising=False)
    if request.param == "sqlite":
        yield Settings(data_dir=tmp_path / "data", migrate="off")
        return
    server: Postgres = request.getfixturevalue("postgres")
    url = server.empty_database()
    monkeypatch.setenv("OUTLAST_DATABASE_URL", url)
    yield Settings(data_dir=tmp_path / "data", database_url=url, migrate="off")
    server.drop(url)


def test_check_says_what_is_to_be_done_and_does_nothing(settings: Settings, outlast: Outlast) -> None:
    checked = [outlast("migrate", "--check") for _ in range(2)]

    assert [done.code for done in checked] == [1, 1]
    assert "schema none, to be brought to 1: 0001_begin.sql." in checked[1].out
    assert not settings.data_dir.exists()


def test_migrate_says_from_where_to_where_and_then_that_nothing_is_missing(
    settings: Settings, outlast: Outlast
) -> None:
    done, again, check = outlast("migrate"), outlast("migrate"), outlast("migrate", "--check")

    assert (done.code, again.code, check.code) == (0, 0, 0)
    assert "schema brought from none to 1: 0001_begin.sql." in done.out
    assert again.out == check.out
    assert "schema 1 is up to date." in check.out


def test_a_server_that_may_not_migrate_refuses_until_it_is_done(settings: Settings, outlast: Outlast) -> None:
    store = store_of(settings, SystemClock())

    with pytest.raises(ConfigError, match=r"no schema yet .* needs 1: run `outlast migrate` first"):
        asyncio.run(_open_and_close(store))
    assert outlast("migrate").code == 0
    asyncio.run(_open_and_close(store))


async def _open_and_close(store: Store) -> None:
    await store.open()
    await store.close()


def test_a_folder_named_on_the_command_line_wins_over_a_database(
    settings: Settings, outlast: Outlast, tmp_path: Path
) -> None:
    done = outlast("migrate", "--data-dir", str(tmp_path / "other"))

    assert (done.code, f"{tmp_path / 'other' / 'outlast.db'}: schema brought" in done.out) == (0, True)
    assert outlast("migrate", "--check").code == 1


def test_an_up_to_date_folder_is_said_to_be_so_while_a_server_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OUTLAST_DATABASE_URL", raising=False)
    store = store_of(Settings(data_dir=tmp_path), SystemClock())
    with asyncio.Runner() as runner:
        runner.run(store.open())
        done = subprocess.run(
            [sys.executable, "-m", "outlast", "migrate", "--data-dir", str(tmp_path)],
            capture_output=True,
            check=False,
            timeout=30,
        )
        runner.run(store.close())

    assert (done.returncode, b"schema 1 is up to date" in done.stdout) == (0, True)


def test_of_many_that_migrate_at_once_one_does_it(postgres: Postgres) -> None:
    schema = schema_of(Settings(database_url=postgres.empty_database()), SystemClock())

    lags = asyncio.run(_all([schema.migrate() for _ in range(5)]))

    assert sorted(len(lag.missing) for lag in lags) == [0, 0, 0, 0, 1]


async def _all(work: list[Coroutine[object, object, Lag]]) -> list[Lag]:
    return await asyncio.gather(*work)


def test_a_database_that_is_away_is_a_sentence(outlast: Outlast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUTLAST_DATABASE_URL", "postgresql://u:secret@127.0.0.1:1/outlast")

    done = outlast("migrate")

    assert done.code == 1
    assert "cannot be reached" in done.err
    assert "secret" not in done.err
