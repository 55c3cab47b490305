"""The store that many processes share: PostgreSQL 14 or newer, through asyncpg (`pip install outlast[postgres]`)."""

from outlast.store.postgres.schema import PostgresSchema
from outlast.store.postgres.sight import PostgresSight
from outlast.store.postgres.store import PostgresStore

__all__ = ["PostgresSchema", "PostgresSight", "PostgresStore"]
