"""Brings the database up to date, and refuses one on which a promise could not be kept."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from outlast import telemetry
from outlast.errors import ConfigError, StoreUnavailable
from outlast.store.migrate import CODE_VERSION, Lag, pending, refuse
from outlast.store.postgres.connection import Address, Link, connect, is_gone, reason, unavailable
from outlast.store.postgres.statements import PACKAGE

OLDEST_SERVER = 14
LOCK = 0x6F75746C617374
"""The advisory lock under which one process migrates while the others wait: `outlast` in ASCII."""
_WRONG = (
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.InsufficientPrivilegeError,
    asyncpg.ClientConfigurationError,
)
log = telemetry.get("store")


class PostgresSchema:
    """`Schema` of a PostgreSQL."""

    def __init__(self, url: str, *, listen: bool = True) -> None:
        self._address = Address(url, is_session=listen)

    @property
    def place(self) -> str:
        return f"PostgreSQL {self._address.place}"

    async def lag(self) -> Lag:
        async with visit(self._address) as link:
            return await lag_of(link)

    async def migrate(self) -> Lag:
        async with visit(self._address) as link:
            await _check(link)
            return await _migrate(link)


async def prepare(address: Address, *, migrates: bool) -> None:
    """Check the database and migrate it; `ConfigError` if it is not fit, `StoreUnavailable` if it is away.

    Where it may not be migrated, it is not fit if anything is missing.
    """
    async with visit(address) as link:
        await _check(link)
        if migrates:
            await _migrate(link)
        else:
            refuse(await lag_of(link))


@asynccontextmanager
async def visit(address: Address) -> AsyncIterator[Link]:
    """A connection for a short while; what goes wrong is said in the words of an operator."""
    try:
        link = await connect(address)
    except _WRONG as error:
        raise ConfigError(f"OUTLAST_DATABASE_URL does not let us in: {error}") from error
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise StoreUnavailable(
            f"The database at {address.place} cannot be reached: {reason(error)}. Start it, or put "
            "OUTLAST_DATABASE_URL right."
        ) from error
    try:
        yield link
    except asyncpg.InsufficientPrivilegeError as error:
        raise ConfigError(
            f"The database user may not make or read the schema `outlast`: {error}. Grant CREATE on the database, "
            "or run `outlast migrate` as a user that has it and grant this one what docs/operations/postgres.md lists."
        ) from error
    except Exception as error:
        raise (unavailable(error, "be prepared") if is_gone(error) else error) from error
    finally:
        link.terminate()


async def _check(link: Link) -> None:
    version = link.get_server_version()
    if version.major < OLDEST_SERVER:
        raise ConfigError(
            f"The database is PostgreSQL {version.major}; Outlast needs {OLDEST_SERVER} or newer."
        )
    said = {
        name: await link.fetchval("SELECT current_setting($1)", name)
        for name in ("server_encoding", "fsync", "full_page_writes", "synchronous_commit")
    }
    if said["server_encoding"] != "UTF8":
        raise ConfigError(
            f"The database's encoding is {said['server_encoding']}; make one for Outlast with ENCODING 'UTF8'."
        )
    if said["fsync"] != "on":
        raise ConfigError(
            "The database runs with fsync=off: a power cut would lose accepted runs. Set fsync = on and restart it."
        )
    if said["synchronous_commit"] == "off":
        # Where a session keeps what is set, it was set on; a pooler may ignore that.
        raise ConfigError(
            "The database commits without waiting for the disk (synchronous_commit = off), and behind a pooler Outlast "
            "cannot change that: set it on for the database or the user."
        )
    if said["full_page_writes"] != "on":
        log.warning(
            "the database runs with full_page_writes=off: safe only where the file system never tears a page"
        )


async def lag_of(link: Link) -> Lag:
    """How far the database is behind this code."""
    known = await link.fetchval(
        "SELECT 1 FROM pg_class WHERE relname = 'schema' AND relnamespace = to_regnamespace('outlast')"
    )
    row = await link.fetchrow("SELECT version, oldest_compatible_code FROM outlast.schema") if known else None
    version, compatible = (row[0], row[1]) if row is not None else (0, 0)
    return Lag(version, list(pending(PACKAGE, version, compatible)))


async def _migrate(link: Link) -> Lag:
    """Of many processes that start at once one does it, and the others find it done."""
    async with link.transaction():
        await link.execute("SELECT pg_advisory_xact_lock($1)", LOCK)
        lag = await lag_of(link)
        for migration in lag.missing:
            log.info("migrating", to=migration.name)
            await link.execute(migration.sql)
            await link.execute("DELETE FROM outlast.schema")
            await link.execute("INSERT INTO outlast.schema VALUES ($1, $2)", migration.version, CODE_VERSION)
        return lag
