"""The schema of the embedded store: brought up to date by whoever owns the folder, looked at by anybody."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from outlast import telemetry
from outlast.errors import ConfigError
from outlast.store.migrate import CODE_VERSION, Lag, pending
from outlast.store.sqlite.ops import PACKAGE

BUSY_S = 5.0
log = telemetry.get("store")


def lag_of(connection: sqlite3.Connection) -> Lag:
    """How far the file is behind this code."""
    known = connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'schema'").fetchone()
    version, compatible = (
        connection.execute("SELECT version, oldest_compatible_code FROM schema").fetchone()
        if known
        else (0, 0)
    )
    return Lag(version, list(pending(PACKAGE, version, compatible)))


def migrate(connection: sqlite3.Connection) -> Lag:
    """Bring the file up to date; how far it was behind."""
    lag = lag_of(connection)
    for migration in lag.missing:
        log.info("migrating", to=migration.name)
        connection.executescript(
            f"BEGIN IMMEDIATE; {migration.sql}; DELETE FROM schema; "
            f"INSERT INTO schema VALUES ({migration.version}, {CODE_VERSION}); COMMIT"
        )
    return lag


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that cannot write, beside a server or without one; `ConfigError` if there is nothing to read."""
    try:
        with closing(
            sqlite3.connect(
                f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=BUSY_S, isolation_level=None
            )
        ) as connection:
            yield connection
    except sqlite3.Error as error:
        raise ConfigError(
            f"The runs in {path} cannot be read: {error}. Name the server's data folder with --data-dir or "
            "OUTLAST_DATA_DIR, and ask as the server's user."
        ) from error
