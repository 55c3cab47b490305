"""What must be true of a store at any moment, said in SQL and apart from the code that writes it.

Each query finds the rows that break one promise, so none may find any. They run after every test that touched a
store, and after every kill in tests/faults.
"""

import sqlite3
from pathlib import Path

import asyncpg

_PLACES = """
    SELECT tenant, 'session:' || session_id AS name FROM runs
    WHERE lanes LIKE '%session%' AND active AND (blocked_by IS NULL OR blocked_by NOT LIKE 'session:%')
    UNION ALL
    SELECT tenant, 'agent:' || agent FROM runs
    WHERE lanes LIKE '%agent%' AND active AND (blocked_by IS NULL OR blocked_by = 'tenant')
    UNION ALL
    SELECT tenant, 'tenant' FROM runs
    WHERE lanes LIKE '%tenant%' AND active AND blocked_by IS NULL
    UNION ALL
    SELECT tenant, value FROM remains, :places
""".replace(
    "active",
    "(state IN ('queued', 'running', 'waiting') AND NOT (due_at IS NOT NULL AND attempt = 0))",
)
"""Every place that is held: by a run that has got as far and has not ended, or by what is left of an attempt."""

_PG_PLACES = "json_array_elements_text(places::json) AS places (value)"

BROKEN = {
    "a final run has exactly one terminal event, and it is the last one": """
        SELECT runs.id FROM runs
        WHERE state IN ('succeeded', 'failed', 'cancelled')
          AND (SELECT count(*) FROM events WHERE run_id = runs.id AND kind = 'complete' AND seq = runs.seq) <> 1
    """,
    "a run that has not ended has no terminal event": """
        SELECT runs.id FROM runs JOIN events ON events.run_id = runs.id AND events.kind = 'complete'
        WHERE state NOT IN ('succeeded', 'failed', 'cancelled')
    """,
    "event numbers are gapless from 1 to the head's": """
        SELECT runs.id FROM runs
        LEFT JOIN events ON events.run_id = runs.id
        GROUP BY runs.id, runs.seq
        HAVING count(events.seq) <> runs.seq OR coalesce(max(events.seq), 0) <> runs.seq
            OR coalesce(min(events.seq), 1) <> 1
    """,
    "the attempt that holds a run has not ended": """
        SELECT attempts.id FROM attempts JOIN runs ON runs.id = attempts.run_id AND runs.attempt_id = attempts.id
    """,
    "the ended attempts of a run are numbered from 1 to the head's, or to the one before it that holds the run": """
        SELECT runs.id FROM runs
        LEFT JOIN attempts ON attempts.run_id = runs.id
        GROUP BY runs.id
        HAVING count(attempts.id) <> runs.attempt - CASE WHEN runs.attempt_id IS NULL THEN 0 ELSE 1 END
            OR coalesce(max(attempts.number), 0) <> count(attempts.id)
    """,
    "no event belongs to an attempt of another run": """
        SELECT events.run_id FROM events JOIN attempts ON attempts.id = events.attempt_id
        WHERE attempts.run_id <> events.run_id
    """,
    "counters are the numbers of runs": """
        SELECT tenant, session_id, status, sum(n) FROM (
            SELECT tenant, '' AS session_id, status, 1 AS n FROM runs
            UNION ALL
            SELECT tenant, session_id, status, 1 FROM runs WHERE session_id IS NOT NULL
            UNION ALL
            SELECT tenant, session_id, status, -n FROM counters
        ) AS counted
        GROUP BY tenant, session_id, status
        HAVING sum(n) <> 0
    """,
    "no event and no attempt outlives its run": """
        SELECT run_id FROM (SELECT run_id FROM events UNION SELECT run_id FROM attempts) AS found
        WHERE NOT EXISTS (SELECT 1 FROM runs WHERE runs.id = found.run_id)
    """,
    "every session of a run is known": """
        SELECT runs.id FROM runs LEFT JOIN sessions
        ON sessions.tenant = runs.tenant AND sessions.id = runs.session_id
        WHERE runs.session_id IS NOT NULL AND sessions.id IS NULL
    """,
    "every large request and result is there, and every result that a notice owes": """
        SELECT id, hash FROM (
            SELECT id, tenant, request_hash AS hash FROM runs
            UNION ALL
            SELECT id, tenant, result_hash FROM runs
            UNION ALL
            SELECT id, tenant, result_hash FROM outbox
        ) AS referring
        WHERE hash IS NOT NULL
          AND NOT EXISTS (SELECT 1 FROM blobs WHERE blobs.tenant = referring.tenant AND blobs.hash = referring.hash)
    """,
    "a lane has as many places taken as are held in it": f"""
        SELECT tenant, name FROM (
            SELECT tenant, name, 1 AS n FROM ({_PLACES}) AS taken
            UNION ALL
            SELECT tenant, name, -held FROM lanes
        ) AS counted
        GROUP BY tenant, name
        HAVING sum(n) <> 0
    """,
    "a lane counts the runs that wait for it": """
        SELECT tenant, name FROM (
            SELECT tenant, blocked_by AS name, 1 AS n FROM runs WHERE blocked_by IS NOT NULL
            UNION ALL
            SELECT tenant, name, -waiting FROM lanes
        ) AS counted
        GROUP BY tenant, name
        HAVING sum(n) <> 0
    """,
    "nobody waits for a lane with room, and an empty lane has no row": """
        SELECT tenant, name FROM lanes
        WHERE (waiting > 0 AND (max_running IS NULL OR held < max_running)) OR (waiting = 0 AND held = 0)
    """,
    "a run that waits for a lane is queued, not ready, and belongs to that lane": """
        SELECT id FROM runs
        WHERE blocked_by IS NOT NULL
          AND (state <> 'queued' OR ready
               OR lanes NOT LIKE '%' || substr(blocked_by, 1, 5) || '%')
    """,
    "a run that has its places and is due is ready": """
        SELECT id FROM runs
        WHERE state = 'queued' AND lanes <> '' AND blocked_by IS NULL AND due_at IS NULL AND NOT ready
    """,
    "a succeeded run has a result": """
        SELECT id FROM runs WHERE state = 'succeeded' AND result IS NULL AND result_hash IS NULL
    """,
}


async def check_database(url: str) -> None:
    """Assert every promise on the PostgreSQL database at `url`, through a connection of its own."""
    queries = {promise: query.replace(":places", _PG_PLACES) for promise, query in BROKEN.items()}
    database = await asyncpg.connect(url, server_settings={"search_path": "outlast"}, timeout=10)
    try:
        found = {promise: await database.fetch(query) for promise, query in queries.items()}
    finally:
        await database.close()
    assert {promise: [tuple(row) for row in rows[:5]] for promise, rows in found.items() if rows} == {}


def check(path: Path) -> None:
    """Assert every promise on the SQLite file at `path`, through a connection of its own."""
    queries = {promise: query.replace(":places", "json_each(places)") for promise, query in BROKEN.items()}
    database = sqlite3.connect(path)
    try:
        found = {promise: database.execute(query).fetchall() for promise, query in queries.items()}
        integrity = database.execute("PRAGMA integrity_check").fetchone()[0]
        foreign = database.execute("PRAGMA foreign_key_check").fetchall()
    finally:
        database.close()
    assert {promise: rows[:5] for promise, rows in found.items() if rows} == {}
    assert integrity == "ok"
    assert foreign == []
