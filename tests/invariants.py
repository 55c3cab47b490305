"""Checks every promise of `outlast.store.invariants` on a store, through a connection of its own."""

import sqlite3
from pathlib import Path

import asyncpg

from outlast.store.invariants import PLACES, PROMISES


async def check_database(url: str) -> None:
    """Assert every promise on the PostgreSQL database at `url`, through a connection of its own."""
    queries = {promise.says: promise.broken.replace(":places", PLACES["postgres"]) for promise in PROMISES}
    database = await asyncpg.connect(url, server_settings={"search_path": "outlast"}, timeout=10)
    try:
        found = {promise: await database.fetch(query) for promise, query in queries.items()}
    finally:
        await database.close()
    broken = {promise: [tuple(row) for row in rows[:5]] for promise, rows in found.items() if rows}
    assert not broken, broken


def check(path: Path) -> None:
    """Assert every promise on the SQLite file at `path`, through a connection of its own."""
    queries = {promise.says: promise.broken.replace(":places", PLACES["sqlite"]) for promise in PROMISES}
    database = sqlite3.connect(path)
    try:
        found = {promise: database.execute(query).fetchall() for promise, query in queries.items()}
        integrity = database.execute("PRAGMA integrity_check").fetchone()[0]
        foreign = database.execute("PRAGMA foreign_key_check").fetchall()
    finally:
        database.close()
    broken = {promise: rows[:5] for promise, rows in found.items() if rows}
    assert not broken, broken
    assert integrity == "ok"
    assert foreign == []
