"""Bring a schema up to date: numbered SQL files, each run once, in order, never edited after release."""

from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable

import msgspec

from outlast.errors import ConfigError

CODE_VERSION = 1
"""The newest schema this code knows; a store that says it needs newer code is refused."""


class Migration(msgspec.Struct, frozen=True):
    """One numbered file."""

    version: int
    name: str
    sql: str


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
