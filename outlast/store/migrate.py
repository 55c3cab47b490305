"""Bring a schema up to date: numbered SQL files, each run once, in order, never edited after release."""

from collections.abc import Iterator, Sequence
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Protocol

import msgspec

from outlast.errors import ConfigError

CODE_VERSION = 1
"""The newest schema this code knows; a store that says it needs newer code is refused."""


class Migration(msgspec.Struct, frozen=True):
    """One numbered file."""

    version: int
    name: str
    sql: str


class Lag(msgspec.Struct, frozen=True):
    """How far a schema is behind this code."""

    version: int
    """The schema's; 0 is none at all."""
    missing: Sequence[Migration]

    @property
    def newest(self) -> int:
        """The version it has once nothing is missing."""
        return self.missing[-1].version if self.missing else self.version


class Schema(Protocol):
    """The schema of a store that is not open; no server needs to be there, and those that are need not stop."""

    @property
    def place(self) -> str:
        """Where the store is, as it may be shown."""
        ...

    async def lag(self) -> Lag:
        """How far it is behind, without writing anything."""
        ...

    async def migrate(self) -> Lag:
        """Bring it up to date, all or nothing per migration; how far it was behind."""
        ...


def refuse(lag: Lag) -> None:
    """`ConfigError` unless nothing is missing: for servers that may not migrate by themselves."""
    if lag.missing:
        has = f"has schema {lag.version}" if lag.version else "has no schema yet"
        raise ConfigError(
            f"The store {has} and this Outlast needs {lag.newest}: run `outlast migrate` first. (Servers do not do it "
            "by themselves while OUTLAST_MIGRATE is off.)"
        )


def pending(package: str, version: int, oldest_compatible_code: int) -> Iterator[Migration]:
    """The migrations of a store's package that a schema at `version` has not seen, in order."""
    if oldest_compatible_code > CODE_VERSION:
        raise ConfigError(
            f"The store was made by a newer Outlast (schema {version}, which needs code {oldest_compatible_code}; "
            f"this is {CODE_VERSION}). Install that version again, or restore the backup made before the upgrade."
        )
    for file in sorted(_files(package), key=lambda f: f.name):
        number = int(file.name.split("_", 1)[0])
        if number > version:
            yield Migration(number, file.name, file.read_text(encoding="utf-8"))


def _files(package: str) -> list[Traversable]:
    return [f for f in (files(package) / "migrations").iterdir() if f.name.endswith(".sql")]
