"""What must be true of a store at any moment, said in SQL and apart from the code that writes it.

Each query finds the rows that break one promise, so in one snapshot none may find any. Tests run them after every test
that touched a store and after every kill; `outlast doctor` runs them on a store that is being written to.
"""

from enum import Enum, auto

import msgspec

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


class Scope(Enum):
    """Which runs have to be looked at where there are too many for all of them."""

    RECENT = auto()
    """Any; the newest tell most."""
    ACTIVE = auto()
    """Those that have not ended; the others play no part."""
    ALL = auto()
    """All of them, by index."""


class Promise(msgspec.Struct, frozen=True):
    """A sentence, and the query for what breaks it. `:places` in it is the dialect's way to unfold `remains.places`."""

    says: str
    broken: str
    scope: Scope = Scope.RECENT


PROMISES = (
    Promise(
        "a final run has exactly one terminal event, and it is the last one",
        """
        SELECT runs.id FROM runs
        WHERE state IN ('succeeded', 'failed', 'cancelled')
          AND (SELECT count(*) FROM events WHERE run_id = runs.id AND kind = 'complete' AND seq = runs.seq) <> 1
    """,
    ),
    Promise(
        "a run that has not ended has no terminal event",
        """
        SELECT runs.id FROM runs JOIN events ON events.run_id = runs.id AND events.kind = 'complete'
        WHERE state NOT IN ('succeeded', 'failed', 'cancelled')
    """,
    ),
    Promise(
        "event numbers are gapless from 1 to the head's",
        """
        SELECT runs.id FROM runs
        LEFT JOIN events ON events.run_id = runs.id
        GROUP BY runs.id, runs.seq
        HAVING count(events.seq) <> runs.seq OR coalesce(max(events.seq), 0) <> runs.seq
            OR coalesce(min(events.seq), 1) <> 1
    """,
    ),
    Promise(
        "the attempt that holds a run has not ended",
        """
        SELECT attempts.id FROM attempts JOIN runs ON runs.id = attempts.run_id AND runs.attempt_id = attempts.id
    """,
    ),
    Promise(
        "the ended attempts of a run are numbered from 1 to the head's, or to the one before it that holds the run",
        """
        SELECT runs.id FROM runs
        LEFT JOIN attempts ON attempts.run_id = runs.id
        GROUP BY runs.id, runs.attempt, runs.attempt_id
        HAVING count(attempts.id) <> runs.attempt - CASE WHEN runs.attempt_id IS NULL THEN 0 ELSE 1 END
            OR coalesce(max(attempts.number), 0) <> count(attempts.id)
    """,
    ),
    Promise(
        "no event belongs to an attempt of another run",
        """
        SELECT events.run_id FROM events JOIN attempts ON attempts.id = events.attempt_id
        WHERE attempts.run_id <> events.run_id
    """,
    ),
    Promise(
        "counters are the numbers of runs",
        """
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
        Scope.ALL,
    ),
    Promise(
        "no event, no step and no attempt outlives its run",
        """
        SELECT run_id FROM (
            SELECT run_id FROM events UNION SELECT run_id FROM steps UNION SELECT run_id FROM attempts
        ) AS found
        WHERE NOT EXISTS (SELECT 1 FROM runs WHERE runs.id = found.run_id)
    """,
    ),
    Promise(
        "every session of a run is known",
        """
        SELECT runs.id FROM runs LEFT JOIN sessions
        ON sessions.tenant = runs.tenant AND sessions.id = runs.session_id
        WHERE runs.session_id IS NOT NULL AND sessions.id IS NULL
    """,
    ),
    Promise(
        "every large request and result is there, and every result that a notice owes",
        """
        SELECT id, hash FROM (
            SELECT id, tenant, request_hash AS hash FROM runs
            UNION ALL
            SELECT id, tenant, result_hash FROM runs
            UNION ALL
            SELECT id, tenant, result_hash FROM outbox
            UNION ALL
            SELECT run_id, tenant, steps.result_hash FROM steps JOIN runs ON runs.id = steps.run_id
        ) AS referring
        WHERE hash IS NOT NULL
          AND NOT EXISTS (SELECT 1 FROM blobs WHERE blobs.tenant = referring.tenant AND blobs.hash = referring.hash)
    """,
    ),
    Promise(
        "no kept call and no pin outlives its run",
        """
        SELECT run_id FROM (SELECT run_id FROM calls UNION SELECT run_id FROM pins) AS found
        WHERE NOT EXISTS (SELECT 1 FROM runs WHERE runs.id = found.run_id)
    """,
    ),
    Promise(
        "every kept call has its event, or was copied from the run that its run was forked from",
        """
        SELECT calls.run_id, calls.seq FROM calls JOIN runs ON runs.id = calls.run_id
        WHERE CASE WHEN calls.seq > 0
            THEN NOT EXISTS (
                SELECT 1 FROM events WHERE run_id = calls.run_id AND seq = calls.seq AND kind = 'model_call'
            )
            ELSE runs.forked_from IS NULL OR calls.generation <> 1
        END
    """,
    ),
    Promise(
        "no kept call belongs to a generation that its run has not reached",
        """
        SELECT calls.run_id FROM calls JOIN runs ON runs.id = calls.run_id AND calls.generation > runs.generation
    """,
    ),
    Promise(
        "a kept call's request is there, link by link",
        """
        SELECT run_id FROM (
            SELECT calls.run_id, runs.tenant, calls.head AS hash FROM calls JOIN runs ON runs.id = calls.run_id
            UNION ALL
            SELECT calls.run_id, runs.tenant, calls.last FROM calls JOIN runs ON runs.id = calls.run_id
        ) AS referring
        WHERE hash IS NOT NULL
          AND NOT EXISTS (SELECT 1 FROM links WHERE links.tenant = referring.tenant AND links.hash = referring.hash)
    """,
    ),
    Promise(
        "every link has the one before it",
        """
        SELECT tenant, hash FROM links AS later
        WHERE before IS NOT NULL
          AND NOT EXISTS (SELECT 1 FROM links WHERE links.tenant = later.tenant AND links.hash = later.before)
    """,
        Scope.ALL,
    ),
    Promise(
        "every large part of a journal is there",
        """
        SELECT tenant, hash FROM (
            SELECT runs.tenant, answer_hash AS hash FROM calls JOIN runs ON runs.id = calls.run_id
            UNION ALL
            SELECT runs.tenant, content_hash FROM pins JOIN runs ON runs.id = pins.run_id
            UNION ALL
            SELECT tenant, content_hash FROM links
        ) AS referring
        WHERE hash IS NOT NULL
          AND NOT EXISTS (SELECT 1 FROM blobs WHERE blobs.tenant = referring.tenant AND blobs.hash = referring.hash)
    """,
    ),
    Promise(
        "a lane has as many places taken as are held in it",
        f"""
        SELECT tenant, name FROM (
            SELECT tenant, name, 1 AS n FROM ({_PLACES}) AS taken
            UNION ALL
            SELECT tenant, name, -held FROM lanes
        ) AS counted
        GROUP BY tenant, name
        HAVING sum(n) <> 0
    """,
        Scope.ACTIVE,
    ),
    Promise(
        "a lane counts the runs that wait for it",
        """
        SELECT tenant, name FROM (
            SELECT tenant, blocked_by AS name, 1 AS n FROM runs WHERE blocked_by IS NOT NULL
            UNION ALL
            SELECT tenant, name, -waiting FROM lanes
        ) AS counted
        GROUP BY tenant, name
        HAVING sum(n) <> 0
    """,
        Scope.ALL,
    ),
    Promise(
        "nobody waits for a lane with room, and an empty lane has no row",
        """
        SELECT tenant, name, held, waiting FROM lanes
        WHERE (waiting > 0 AND (max_running IS NULL OR held < max_running)) OR (waiting = 0 AND held = 0)
    """,
        Scope.ALL,
    ),
    Promise(
        "a run that waits for a lane is queued, not ready, and belongs to that lane",
        """
        SELECT id FROM runs
        WHERE blocked_by IS NOT NULL
          AND (state <> 'queued' OR ready
               OR lanes NOT LIKE '%' || substr(blocked_by, 1, 5) || '%')
    """,
        Scope.ALL,
    ),
    Promise(
        "a run that has its places and is due is ready",
        """
        SELECT id FROM runs
        WHERE state = 'queued' AND lanes <> '' AND blocked_by IS NULL AND due_at IS NULL AND NOT ready
    """,
        Scope.ACTIVE,
    ),
    Promise(
        "a run waits for a tool's step if and only if that step of its is unsure",
        """
        SELECT id FROM runs
        WHERE waiting_kind = 'tool'
          AND NOT EXISTS (
              SELECT 1 FROM steps WHERE run_id = runs.id AND generation = runs.generation AND state = 'unsure'
          )
        UNION ALL
        SELECT run_id FROM steps JOIN runs ON runs.id = run_id
        WHERE steps.state = 'unsure'
          AND runs.state NOT IN ('failed', 'cancelled')
          AND steps.generation = runs.generation
          AND (waiting_kind IS NULL OR waiting_kind <> 'tool')
    """,
    ),
    Promise(
        "a succeeded run has a result",
        """
        SELECT id FROM runs WHERE state = 'succeeded' AND result IS NULL AND result_hash IS NULL
    """,
    ),
)

PLACES = {
    "sqlite": "json_each(places)",
    "postgres": "json_array_elements_text(places::json) AS places (value)",
}
