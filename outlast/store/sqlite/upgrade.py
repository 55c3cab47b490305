"""What `outlast migrate` does to a data folder."""

from pathlib import Path

from outlast.clock import Clock
from outlast.store.migrate import Lag, pending
from outlast.store.sqlite.ops import PACKAGE
from outlast.store.sqlite.schema import lag_of, reading
from outlast.store.sqlite.store import SqliteStore


class SqliteSchema:
    """`Schema` of a data folder."""

    def __init__(self, data_dir: Path, clock: Clock) -> None:
        self._store = SqliteStore(data_dir, clock)

    @property
    def place(self) -> str:
        return str(self._store.path)

    async def lag(self) -> Lag:
        if not self._store.path.exists():
            return Lag(0, list(pending(PACKAGE, 0, 0)))
        with reading(self._store.path) as connection:
            return lag_of(connection)

    async def migrate(self) -> Lag:
        """What is up to date is left alone; else no server may have the folder: `StoreOwned`."""
        lag = await self.lag()
        if lag.missing:
            await self._store.open()
            await self._store.close()
        return lag
