"""A server whose database user may not change the schema, with the rights that the page grants it."""

import asyncio

import pytest

from outlast.clock import SystemClock
from outlast.config import Settings
from outlast.engine import Engine
from outlast.store.choose import schema_of, store_of
from outlast.store.protocol import Store
from tests.operations.pages import blocks
from tests.postgres import Postgres
from tests.runs_factory import running, submit


async def _serve(store: Store) -> None:
    await store.open()
    engine = Engine(store, SystemClock())
    _, attempt_id = await running(engine)
    await engine.recover()
    await submit(engine)
    assert attempt_id
    await store.close()


@pytest.fixture
def role(postgres: Postgres) -> str:
    postgres.execute("DROP ROLE IF EXISTS outlast_app")
    postgres.execute("CREATE ROLE outlast_app LOGIN")
    return "outlast_app"


def test_the_granted_rights_are_enough(postgres: Postgres, role: str) -> None:
    url = postgres.empty_database()
    asyncio.run(schema_of(Settings(database_url=url), SystemClock()).migrate())
    for statement in blocks("postgres.md", "sql", "Upgrades and migrations"):
        postgres.execute(statement, url.rpartition("/")[2])

    settings = Settings(database_url=url.replace("postgres@", f"{role}@"), migrate="off")
    asyncio.run(_serve(store_of(settings, SystemClock())))

    postgres.drop(url)
    postgres.execute(f"DROP ROLE {role}")
