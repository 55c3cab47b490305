"""Which store the settings ask for."""

from outlast.clock import Clock
from outlast.config import Settings
from outlast.errors import ConfigError
from outlast.store.protocol import Store
from outlast.store.sqlite import SqliteStore


def store_of(settings: Settings, clock: Clock) -> Store:
    """The store of `OUTLAST_DATABASE_URL`, else the one in the data folder; not open yet."""
    if settings.database_url is None:
        return SqliteStore(settings.data_dir, clock)
    try:
        from outlast.store.postgres import PostgresStore  # its driver is there only where it is needed
    except ImportError as error:
        raise ConfigError(
            "OUTLAST_DATABASE_URL is set, and the driver for PostgreSQL is missing: pip install 'outlast[postgres]'."
        ) from error
    return PostgresStore(settings.database_url, listen=settings.database_listen)
