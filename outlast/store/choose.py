"""Which store the settings ask for."""

from collections.abc import Iterator
from contextlib import contextmanager

from outlast.clock import Clock
from outlast.config import Settings
from outlast.errors import ConfigError
from outlast.store.migrate import Schema
from outlast.store.protocol import Store
from outlast.store.snapshot import Sight
from outlast.store.sqlite import SqliteSchema, SqliteSight, SqliteStore


def store_of(settings: Settings, clock: Clock) -> Store:
    """The store of `OUTLAST_DATABASE_URL`, else the one in the data folder; not open yet."""
    migrates = settings.migrate == "auto"
    if settings.database_url is None:
        return SqliteStore(settings.data_dir, clock, migrates=migrates)
    with _driver_needed():
        from outlast.store.postgres import PostgresStore  # its driver is there only where it is needed
    return PostgresStore(settings.database_url, listen=settings.database_listen, migrates=migrates)


def schema_of(settings: Settings, clock: Clock) -> Schema:
    """The schema of that store."""
    if settings.database_url is None:
        return SqliteSchema(settings.data_dir, clock)
    with _driver_needed():
        from outlast.store.postgres import PostgresSchema
    return PostgresSchema(settings.database_url, listen=settings.database_listen)


def sight_of(settings: Settings, clock: Clock) -> Sight:
    """A look at that store."""
    if settings.database_url is None:
        return SqliteSight(settings.data_dir, clock)
    with _driver_needed():
        from outlast.store.postgres import PostgresSight
    return PostgresSight(settings.database_url, listen=settings.database_listen)


@contextmanager
def _driver_needed() -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        raise ConfigError(
            "OUTLAST_DATABASE_URL is set, and the driver for PostgreSQL is missing: pip install 'outlast[postgres]'."
        ) from error
