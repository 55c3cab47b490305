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
    raise ConfigError(
        "OUTLAST_DATABASE_URL is set, but this release has no PostgreSQL store: unset it, and runs are kept in "
        "OUTLAST_DATA_DIR."
    )
