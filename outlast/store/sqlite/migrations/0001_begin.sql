-- The first schema. Runs before the new code. It has columns and tables that later features fill
-- (lanes, forks, children), so that they need no rewrite of a full table.
-- The constraints repeat the promises of lifecycle.py: final <=> finished_at, running <=> attempt_id,
-- one terminal event a run, unique idempotency keys, gapless numbers by primary key.
-- Those of runs have OR where IN would do: SQLite fills a table for each IN in each statement, a fifth of a write.

CREATE TABLE schema (
    version                INTEGER NOT NULL,
    oldest_compatible_code INTEGER NOT NULL
) STRICT;

CREATE TABLE runs (
    id                  TEXT    NOT NULL PRIMARY KEY,
    tenant              TEXT    NOT NULL,
    runner              TEXT    NOT NULL,
    framework           TEXT    NOT NULL,
    kind                TEXT    NOT NULL CHECK (kind = 'shared' OR kind = 'isolated'),
    created_at          INTEGER NOT NULL,
    timeout_s           INTEGER NOT NULL,
    submitted_by        TEXT,
    session_id          TEXT,
    agent               TEXT,
    queue               TEXT    NOT NULL,
    priority_s          INTEGER NOT NULL,
    parent_id           TEXT,
    forked_from         TEXT,
    schedule_id         TEXT,
    retry_max_attempts  INTEGER NOT NULL,
    retry_backoff_s     REAL    NOT NULL,
    retry_journal       TEXT    NOT NULL DEFAULT 'resume' CHECK (retry_journal = 'resume' OR retry_journal = 'fresh'),
    webhook_url         TEXT,
    idempotency_key     TEXT,
    idempotency_session TEXT,
    idempotency_hash    BLOB,
    state               TEXT    NOT NULL
        CHECK (
            state = 'queued' OR state = 'running' OR state = 'waiting'
            OR state = 'succeeded' OR state = 'failed' OR state = 'cancelled'
        ),
    status              TEXT    NOT NULL GENERATED ALWAYS AS (iif(state = 'waiting', 'running', state)) VIRTUAL,
    order_at            INTEGER NOT NULL,
    due_at              INTEGER,
    ready               INTEGER NOT NULL CHECK (ready = 0 OR state = 'queued'),
    blocked_by          TEXT CHECK (blocked_by IS NULL OR (state = 'queued' AND ready = 0)),
    seq                 INTEGER NOT NULL,
    generation          INTEGER NOT NULL,
    attempt_id          TEXT CHECK ((attempt_id IS NOT NULL) = (state = 'running')),
    attempt             INTEGER NOT NULL,
    attempt_at          INTEGER,
    worker_id           TEXT,
    lost                INTEGER NOT NULL,
    unproven            INTEGER NOT NULL,
    failures            INTEGER NOT NULL,
    solo                INTEGER NOT NULL,
    executed_ms         INTEGER NOT NULL,
    started_at          INTEGER,
    finished_at         INTEGER
        CHECK ((finished_at IS NOT NULL) = (state = 'succeeded' OR state = 'failed' OR state = 'cancelled')),
    waiting_kind        TEXT CHECK ((waiting_kind IS NOT NULL) = (state = 'waiting')),
    model_calls         INTEGER NOT NULL,
    input_tokens        INTEGER NOT NULL,
    output_tokens       INTEGER NOT NULL,
    cost_nano_usd       INTEGER NOT NULL,
    unpriced_calls      INTEGER NOT NULL,
    max_cost_nano_usd   INTEGER CHECK (max_cost_nano_usd > 0),
    max_tokens          INTEGER CHECK (max_tokens > 0),
    error_code          TEXT CHECK ((error_code IS NOT NULL) = (state = 'failed')),
    error_message       BLOB,
    result_size         INTEGER CHECK ((result_size IS NOT NULL) = (state = 'succeeded')),
    progress            BLOB,
    waiting             BLOB,
    lanes               TEXT    NOT NULL,
    metadata            BLOB,
    request_hash        BLOB,
    result_hash         BLOB,
    request             BLOB,
    result              BLOB
) STRICT;

CREATE INDEX runs_by_tenant ON runs (tenant, id);
CREATE INDEX runs_by_status ON runs (tenant, status, id);
CREATE INDEX runs_by_session ON runs (tenant, session_id, id, status) WHERE session_id IS NOT NULL;
CREATE INDEX runs_by_schedule ON runs (tenant, schedule_id, id) WHERE schedule_id IS NOT NULL;
CREATE INDEX runs_ready ON runs (kind, order_at, id, runner, queue) WHERE ready = 1;
CREATE INDEX runs_blocked ON runs (tenant, blocked_by, order_at, id) WHERE blocked_by IS NOT NULL;
CREATE INDEX runs_due ON runs (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX runs_by_worker ON runs (worker_id) WHERE worker_id IS NOT NULL;
CREATE UNIQUE INDEX runs_by_key ON runs (tenant, idempotency_session, idempotency_key)
    WHERE idempotency_key IS NOT NULL;
CREATE INDEX runs_by_request_hash ON runs (request_hash) WHERE request_hash IS NOT NULL;
CREATE INDEX runs_by_result_hash ON runs (result_hash) WHERE result_hash IS NOT NULL;

-- Ended ones only: the attempt that goes on is in its run's row, so an attempt is written once.
-- Found by its run: an index on the random id would touch another page for every attempt.
CREATE TABLE attempts (
    run_id     TEXT    NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    number     INTEGER NOT NULL,
    id         TEXT    NOT NULL,
    worker_id  TEXT    NOT NULL,
    started_at INTEGER NOT NULL,
    ended_at   INTEGER NOT NULL,
    "end"      TEXT    NOT NULL,
    PRIMARY KEY (run_id, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE events (
    run_id     TEXT    NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    seq        INTEGER NOT NULL CHECK (seq > 0),
    kind       TEXT    NOT NULL,
    at         INTEGER NOT NULL,
    attempt_id TEXT,
    data       BLOB    NOT NULL,
    PRIMARY KEY (run_id, seq)
) STRICT, WITHOUT ROWID;

CREATE INDEX events_of_model_calls ON events (run_id, seq) WHERE kind = 'model_call';
CREATE UNIQUE INDEX events_one_outcome ON events (run_id) WHERE kind = 'complete';

-- The journal: finished model calls, by what was asked and how often an attempt had asked it. `seq` is the number of the
-- call's event, below 1 for one that a fork has copied. `head` and `last` are links. Bytes are packed, large ones apart.
-- With rowids, here and in links: what is in an index besides is 3 bytes then, not the whole key.
CREATE TABLE calls (
    run_id       TEXT    NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    generation   INTEGER NOT NULL,
    hash         BLOB    NOT NULL,
    n            INTEGER NOT NULL,
    seq          INTEGER NOT NULL,
    head         BLOB    NOT NULL,
    last         BLOB,
    status       INTEGER NOT NULL,
    streamed     INTEGER NOT NULL,
    answer       BLOB,
    answer_hash  BLOB CHECK ((answer IS NULL) <> (answer_hash IS NULL)),
    PRIMARY KEY (run_id, generation, hash, n)
) STRICT;

CREATE INDEX calls_by_head ON calls (head);
CREATE INDEX calls_by_last ON calls (last) WHERE last IS NOT NULL;
CREATE INDEX calls_by_answer_hash ON calls (answer_hash) WHERE answer_hash IS NOT NULL;

-- Tool results as they were first sent, by a short hash of the tool call id, which is in the content.
CREATE TABLE pins (
    run_id       TEXT    NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    generation   INTEGER NOT NULL,
    key          BLOB    NOT NULL,
    k            INTEGER NOT NULL,
    content      BLOB,
    content_hash BLOB CHECK ((content IS NULL) <> (content_hash IS NULL)),
    PRIMARY KEY (run_id, generation, key, k)
) STRICT, WITHOUT ROWID;

CREATE INDEX pins_by_content_hash ON pins (content_hash) WHERE content_hash IS NOT NULL;

-- The messages of requests, each after the one before it, by a hash of both; and heads, which have nothing before them.
CREATE TABLE links (
    tenant       TEXT    NOT NULL,
    hash         BLOB    NOT NULL,
    before       BLOB,
    touched_at   INTEGER NOT NULL,
    content      BLOB,
    content_hash BLOB CHECK ((content IS NULL) <> (content_hash IS NULL)),
    PRIMARY KEY (tenant, hash)
) STRICT;

CREATE INDEX links_by_before ON links (before) WHERE before IS NOT NULL;
CREATE INDEX links_by_content_hash ON links (content_hash) WHERE content_hash IS NOT NULL;

-- The tool journal: steps that are done once and given back to later attempts. An error may have NUL, so it is bytes.
CREATE TABLE steps (
    run_id          TEXT    NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    generation      INTEGER NOT NULL,
    key             TEXT    NOT NULL,
    name            TEXT    NOT NULL,
    effect          TEXT    NOT NULL CHECK (effect IN ('read', 'idempotent', 'once')),
    state           TEXT    NOT NULL CHECK (state IN ('running', 'unsure', 'again', 'done', 'failed')),
    attempt_id      TEXT    NOT NULL,
    idempotency_key TEXT    NOT NULL,
    started_at      INTEGER NOT NULL,
    input           BLOB,
    result          BLOB,
    result_hash     BLOB CHECK ((result IS NOT NULL) + (result_hash IS NOT NULL) = (state = 'done')),
    result_size     INTEGER CHECK ((result_size IS NOT NULL) = (state = 'done')),
    error           BLOB CHECK ((error IS NOT NULL) = (state = 'failed')),
    answer          TEXT,
    ended_at        INTEGER CHECK ((ended_at IS NOT NULL) = (state IN ('done', 'failed'))),
    PRIMARY KEY (run_id, generation, key)
) STRICT;

CREATE INDEX steps_by_result_hash ON steps (result_hash) WHERE result_hash IS NOT NULL;

CREATE TABLE sessions (
    tenant      TEXT    NOT NULL,
    id          TEXT    NOT NULL,
    created_at  INTEGER NOT NULL,
    max_running INTEGER CHECK (max_running > 0),
    PRIMARY KEY (tenant, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX sessions_by_age ON sessions (tenant, created_at, id);
CREATE INDEX sessions_limited ON sessions (tenant, id, max_running) WHERE max_running IS NOT NULL;

-- The lanes that hold anybody: how many places are taken and how many runs wait for one. Null is no limit.
CREATE TABLE lanes (
    tenant      TEXT    NOT NULL,
    name        TEXT    NOT NULL,
    max_running INTEGER CHECK (max_running > 0),
    held        INTEGER NOT NULL CHECK (held >= 0),
    waiting     INTEGER NOT NULL CHECK (waiting >= 0),
    PRIMARY KEY (tenant, name)
) STRICT, WITHOUT ROWID;

CREATE INDEX lanes_with_room ON lanes (tenant, name)
    WHERE waiting > 0 AND (max_running IS NULL OR held < max_running);

-- Attempts whose run has ended while something of them may still be there: they keep its places (a JSON array of lanes).
CREATE TABLE remains (
    attempt_id TEXT NOT NULL PRIMARY KEY,
    worker_id  TEXT NOT NULL,
    tenant     TEXT NOT NULL,
    places     TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Bytes by the SHA-256 of what they are; `envelope` says how they are stored (0: as they are).
CREATE TABLE blobs (
    tenant     TEXT    NOT NULL,
    hash       BLOB    NOT NULL,
    envelope   INTEGER NOT NULL,
    touched_at INTEGER NOT NULL,
    bytes      BLOB    NOT NULL,
    PRIMARY KEY (tenant, hash)
) STRICT;

CREATE TABLE outbox (
    id          TEXT    NOT NULL PRIMARY KEY,
    run_id      TEXT    NOT NULL,
    tenant      TEXT    NOT NULL,
    url         TEXT    NOT NULL,
    receiver    TEXT    NOT NULL,
    head        BLOB    NOT NULL,
    result      BLOB,
    result_hash BLOB,
    result_size INTEGER,
    created_at  INTEGER NOT NULL,
    due_at      INTEGER NOT NULL,
    tries       INTEGER NOT NULL
) STRICT;

CREATE INDEX outbox_by_receiver ON outbox (receiver, due_at);
CREATE INDEX outbox_by_result_hash ON outbox (result_hash) WHERE result_hash IS NOT NULL;

-- Recurring runs. Every change is a compare-and-set on `revision`; a fire writes its run in the same transaction.
CREATE TABLE schedules (
    id           TEXT    NOT NULL PRIMARY KEY,
    tenant       TEXT    NOT NULL,
    name         TEXT    NOT NULL,
    cron         TEXT    NOT NULL,
    timezone     TEXT    NOT NULL,
    missed       TEXT    NOT NULL CHECK (missed IN ('skip', 'run_once')),
    run          BLOB    NOT NULL,
    paused       INTEGER NOT NULL,
    created_at   INTEGER NOT NULL,
    created_by   TEXT,
    revision     INTEGER NOT NULL,
    next_fire_at INTEGER CHECK ((next_fire_at IS NULL) = paused),
    last_fire_at INTEGER,
    last_run_id  TEXT,
    last_error   TEXT
) STRICT;

CREATE INDEX schedules_by_tenant ON schedules (tenant, id);
CREATE INDEX schedules_by_next_fire ON schedules (next_fire_at) WHERE next_fire_at IS NOT NULL;

-- How many runs there are, per tenant, session ('' for all of the tenant) and status. Sharded where writers are many.
CREATE TABLE counters (
    tenant     TEXT    NOT NULL,
    session_id TEXT    NOT NULL,
    status     TEXT    NOT NULL,
    shard      INTEGER NOT NULL,
    n          INTEGER NOT NULL,
    PRIMARY KEY (tenant, session_id, status, shard)
) STRICT, WITHOUT ROWID;

CREATE TABLE workers (
    id          TEXT    NOT NULL PRIMARY KEY,
    started_at  INTEGER NOT NULL,
    lease_until INTEGER NOT NULL,
    lost_at     INTEGER,
    card        BLOB    NOT NULL
) STRICT, WITHOUT ROWID;
