"""What the doctor says of a PostgreSQL's own settings."""

import pytest

from outlast.clock import SystemClock
from outlast.config import Settings
from outlast.doctor import Finding, Level, database, examine
from outlast.store.migrate import Lag
from outlast.store.queries import Value
from outlast.store.snapshot import Rows
from tests.postgres import Postgres

SOUND = {
    "server_version_num": "180001",
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "synchronous_standby_names": "",
    "max_connections": "100",
    "superuser_reserved_connections": "3",
    "autovacuum": "on",
    "server_encoding": "UTF8",
}


class Said:
    """A snapshot of a database whose settings are these: no server of ours can be had with all of them."""

    now = 0
    lag = Lag(1, ())

    def __init__(self, settings: dict[str, str], standbys: tuple[int, int | None] = (0, None)) -> None:
        self._settings = settings
        self._standbys = standbys

    async def rows(self, query: str, *values: Value) -> Rows:
        if "pg_settings" in query:
            return list(self._settings.items())
        return [self._standbys if "pg_stat_replication" in query else (20,)]


@pytest.mark.parametrize(
    ("change", "about", "level", "says"),
    [
        ({"fsync": "off"}, "database", Level.WRONG, "power cut loses"),
        ({"full_page_writes": "off"}, "database", Level.NOTE, "tear pages"),
        ({"autovacuum": "off"}, "database", Level.WRONG, "without end"),
        ({"server_version_num": "130004"}, "database", Level.WRONG, "PostgreSQL 13"),
        ({"server_version_num": "190000"}, "database", Level.NOTE, "tested with 14 to 18"),
        ({"max_connections": "30"}, "connections", Level.WRONG, "20 of 27"),
        ({}, "connections", Level.OK, "20 of 97"),
        ({}, "standby", Level.NOTE, "No synchronous standby protects"),
        ({"synchronous_standby_names": "b"}, "standby", Level.WRONG, "every commit waits"),
    ],
    ids=str,
)
async def test_a_setting_is_said_to_be_what_it_is(
    change: dict[str, str], about: str, level: Level, says: str
) -> None:
    found = await database.check(Said(SOUND | change), listens=True)

    assert [(f.about, f.level) for f in found if says in f.says] == [(about, level)]


async def test_a_synchronous_standby_that_is_there_is_good() -> None:
    named = SOUND | {"synchronous_standby_names": "b"}

    assert _standby(await database.check(Said(named, (1, 1)), listens=True)).level is Level.OK
    assert _standby(await database.check(Said(named, (1, None)), listens=True)).level is Level.NOTE


def _standby(found: object) -> Finding:
    assert isinstance(found, list)
    (finding,) = [finding for finding in found if finding.about == "standby"]
    assert isinstance(finding, Finding)
    return finding


async def test_only_a_pooler_lets_synchronous_commit_off_matter() -> None:
    off = SOUND | {"synchronous_commit": "off"}

    direct, pooled = [await database.check(Said(off), listens=listens) for listens in (True, False)]

    assert [f for f in direct if f.level is Level.WRONG] == []
    assert [f.says for f in pooled if f.level is Level.WRONG] == [
        "synchronous_commit is off, and behind a pooler Outlast cannot set it."
    ]


async def test_the_oldest_server_is_examined_alike_also_through_a_pooler(old_postgres: Postgres) -> None:
    settings = Settings(database_url=old_postgres.database(), database_listen=False)

    found = await examine(settings, SystemClock())

    assert [f.says for f in found if f.level is Level.WRONG] == []
    assert "It is PostgreSQL 14." in [f.says for f in found]


async def test_a_database_without_our_schema_is_said_so(postgres: Postgres) -> None:
    (finding,) = await examine(Settings(database_url=postgres.empty_database()), SystemClock())

    assert (finding.about, finding.remedy) == ("schema", "outlast migrate")
