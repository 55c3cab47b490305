"""The embedded store: one SQLite file, owned by one server process."""

from outlast.store.sqlite.sight import SqliteSight
from outlast.store.sqlite.store import SqliteStore
from outlast.store.sqlite.upgrade import SqliteSchema

__all__ = ["SqliteSchema", "SqliteSight", "SqliteStore"]
