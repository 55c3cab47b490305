"""The embedded store: one SQLite file, owned by one server process."""

from outlast.store.sqlite.store import SqliteStore

__all__ = ["SqliteStore"]
