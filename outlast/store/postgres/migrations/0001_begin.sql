-- The first schema. Runs before the new code. It has columns and tables that later features fill
-- (lanes, forks, children), so that they need no rewrite of a full table.
-- The constraints repeat the promises of lifecycle.py: final <=> finished_at, running <=> attempt_id,
-- one terminal event a run, unique idempotency keys, gapless numbers by primary key.
--
-- No foreign keys: whoever writes an event or an attempt holds the lock on its run's row, which is all that they would
-- make sure of, at the price of a look-up and a lock for every row. No index more than a query needs: a run is written
-- three times, and each time every index that covers it.

CREATE SCHEMA IF NOT EXISTS outlast;

CREATE TABLE outlast.schema (
    version                integer NOT NULL,
    oldest_compatible_code integer NOT NULL
);

-- The clock of leases and of everything that is decided: milliseconds since the epoch. Tests replace it.
CREATE FUNCTION outlast.outlast_now() RETURNS bigint
LANGUAGE sql VOLATILE
AS $$ SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint $$;

CREATE TABLE outlast.runs (
    id                  text    COLLATE "C" NOT NULL PRIMARY KEY,
    tenant              text    COLLATE "C" NOT NULL,
    runner              text    COLLATE "C" NOT NULL,
    framework           text    COLLATE "C" NOT NULL,
    kind                text    COLLATE "C" NOT NULL CHECK (kind IN ('shared', 'isolated')),
    created_at          bigint  NOT NULL,
    timeout_s           bigint  NOT NULL,
    submitted_by        text    COLLATE "C",
    session_id          text    COLLATE "C",
    agent               text    COLLATE "C",
    queue               text    COLLATE "C" NOT NULL,
    priority_s          bigint  NOT NULL,
    parent_id           text    COLLATE "C",
    forked_from         text    COLLATE "C",
    schedule_id         text    COLLATE "C",
    retry_max_attempts  bigint  NOT NULL,
    retry_backoff_s     float8  NOT NULL,
    retry_journal       text    COLLATE "C" NOT NULL DEFAULT 'resume' CHECK (retry_journal IN ('resume', 'fresh')),
    webhook_url         text,
    idempotency_key     text    COLLATE "C",
    idempotency_session text    COLLATE "C",
    idempotency_hash    bytea,
    state               text    COLLATE "C" NOT NULL
        CHECK (state IN ('queued', 'running', 'waiting', 'succeeded', 'failed', 'cancelled')),
    status              text    COLLATE "C" NOT NULL
        GENERATED ALWAYS AS (CASE state WHEN 'waiting' THEN 'running' ELSE state END) STORED,
    order_at            bigint  NOT NULL,
    due_at              bigint,
    ready               boolean NOT NULL CHECK (NOT ready OR state = 'queued'),
    blocked_by          text    COLLATE "C" CHECK (blocked_by IS NULL OR (state = 'queued' AND NOT ready)),
    lanes               text    COLLATE "C" NOT NULL,
    seq                 bigint  NOT NULL,
    generation          bigint  NOT NULL,
    attempt_id          text    COLLATE "C" CHECK ((attempt_id IS NOT NULL) = (state = 'running')),
    attempt             bigint  NOT NULL,
    attempt_at          bigint,
    worker_id           text    COLLATE "C",
    lost                bigint  NOT NULL,
    unproven            bigint  NOT NULL,
    failures            bigint  NOT NULL,
    solo                boolean NOT NULL,
    executed_ms         bigint  NOT NULL,
    started_at          bigint,
    finished_at         bigint
        CHECK ((finished_at IS NOT NULL) = (state IN ('succeeded', 'failed', 'cancelled'))),
    waiting_kind        text    CHECK ((waiting_kind IS NOT NULL) = (state = 'waiting')),
    model_calls         bigint  NOT NULL,
    input_tokens        bigint  NOT NULL,
    output_tokens       bigint  NOT NULL,
    cost_nano_usd       bigint  NOT NULL,
    unpriced_calls      bigint  NOT NULL,
    max_cost_nano_usd   bigint  CHECK (max_cost_nano_usd > 0),
    max_tokens          bigint  CHECK (max_tokens > 0),
    error_code          text    CHECK ((error_code IS NOT NULL) = (state = 'failed')),
    error_message       bytea,
    result_size         bigint  CHECK ((result_size IS NOT NULL) = (state = 'succeeded')),
    progress            bytea,
    waiting             bytea,
    metadata            bytea,
    request_hash        bytea,
    result_hash         bytea,
    request             bytea,
    result              bytea
);

CREATE INDEX runs_by_tenant ON outlast.runs (tenant, id);
CREATE INDEX runs_by_status ON outlast.runs (tenant, status, id);
CREATE INDEX runs_by_session ON outlast.runs (tenant, session_id, id) WHERE session_id IS NOT NULL;
CREATE INDEX runs_by_schedule ON outlast.runs (tenant, schedule_id, id) WHERE schedule_id IS NOT NULL;
CREATE INDEX runs_blocked ON outlast.runs (tenant, blocked_by, order_at, id) WHERE blocked_by IS NOT NULL;
CREATE INDEX runs_ready ON outlast.runs (kind, runner, queue, order_at, id) WHERE ready;
CREATE INDEX runs_due ON outlast.runs (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX runs_by_worker ON outlast.runs (worker_id) WHERE worker_id IS NOT NULL;
CREATE UNIQUE INDEX runs_by_key ON outlast.runs (tenant, idempotency_session, idempotency_key)
    WHERE idempotency_key IS NOT NULL;
CREATE INDEX runs_by_request_hash ON outlast.runs (request_hash) WHERE request_hash IS NOT NULL;
CREATE INDEX runs_by_result_hash ON outlast.runs (result_hash) WHERE result_hash IS NOT NULL;

-- Ended ones only: the attempt that goes on is in its run's row, so an attempt is written once.
CREATE TABLE outlast.attempts (
    run_id     text   COLLATE "C" NOT NULL,
    number     bigint NOT NULL,
    id         text   COLLATE "C" NOT NULL,
    worker_id  text   COLLATE "C" NOT NULL,
    started_at bigint NOT NULL,
    ended_at   bigint NOT NULL,
    "end"      text   NOT NULL,
    PRIMARY KEY (run_id, number)
);

CREATE TABLE outlast.events (
    run_id     text   COLLATE "C" NOT NULL,
    seq        bigint NOT NULL CHECK (seq > 0),
    kind       text   COLLATE "C" NOT NULL,
    at         bigint NOT NULL,
    attempt_id text   COLLATE "C",
    data       bytea  NOT NULL,
    PRIMARY KEY (run_id, seq)
);

CREATE INDEX events_of_model_calls ON outlast.events (run_id, seq) WHERE kind = 'model_call';
CREATE UNIQUE INDEX events_one_outcome ON outlast.events (run_id) WHERE kind = 'complete';

-- The journal: finished model calls, by what was asked and how often an attempt had asked it. `seq` is the number of the
-- call's event, below 1 for one that a fork has copied. `head` and `last` are links. Bytes are packed, large ones apart.
CREATE TABLE outlast.calls (
    run_id       text    COLLATE "C" NOT NULL,
    generation   integer NOT NULL,
    hash         bytea   NOT NULL,
    n            integer NOT NULL,
    seq          bigint  NOT NULL,
    head         bytea   NOT NULL,
    last         bytea,
    status       smallint NOT NULL,
    streamed     boolean NOT NULL,
    answer       bytea,
    answer_hash  bytea   CHECK ((answer IS NULL) <> (answer_hash IS NULL)),
    PRIMARY KEY (run_id, generation, hash, n)
);

CREATE INDEX calls_by_head ON outlast.calls (head);
CREATE INDEX calls_by_last ON outlast.calls (last) WHERE last IS NOT NULL;
CREATE INDEX calls_by_answer_hash ON outlast.calls (answer_hash) WHERE answer_hash IS NOT NULL;

-- Tool results as they were first sent, by a short hash of the tool call id, which is in the content.
CREATE TABLE outlast.pins (
    run_id       text    COLLATE "C" NOT NULL,
    generation   integer  NOT NULL,
    key          bytea   NOT NULL,
    k            integer  NOT NULL,
    content      bytea,
    content_hash bytea   CHECK ((content IS NULL) <> (content_hash IS NULL)),
    PRIMARY KEY (run_id, generation, key, k)
);

CREATE INDEX pins_by_content_hash ON outlast.pins (content_hash) WHERE content_hash IS NOT NULL;

-- The messages of requests, each after the one before it, by a hash of both; and heads, which have nothing before them.
CREATE TABLE outlast.links (
    tenant       text    COLLATE "C" NOT NULL,
    hash         bytea   NOT NULL,
    before       bytea,
    touched_at   bigint  NOT NULL,
    content      bytea,
    content_hash bytea   CHECK ((content IS NULL) <> (content_hash IS NULL)),
    PRIMARY KEY (tenant, hash)
);

CREATE INDEX links_by_before ON outlast.links (before) WHERE before IS NOT NULL;
CREATE INDEX links_by_content_hash ON outlast.links (content_hash) WHERE content_hash IS NOT NULL;

-- The tool journal: steps that are done once and given back to later attempts. An error may have NUL, so it is bytes.
CREATE TABLE outlast.steps (
    run_id          text   COLLATE "C" NOT NULL,
    generation      bigint NOT NULL,
    key             text   COLLATE "C" NOT NULL,
    name            text   NOT NULL,
    effect          text   NOT NULL CHECK (effect IN ('read', 'idempotent', 'once')),
    state           text   NOT NULL CHECK (state IN ('running', 'unsure', 'again', 'done', 'failed')),
    attempt_id      text   COLLATE "C" NOT NULL,
    idempotency_key text   NOT NULL,
    started_at      bigint NOT NULL,
    input           bytea,
    result          bytea,
    result_hash     bytea  CHECK ((result IS NOT NULL)::int + (result_hash IS NOT NULL)::int = (state = 'done')::int),
    result_size     bigint CHECK ((result_size IS NOT NULL) = (state = 'done')),
    error           bytea  CHECK ((error IS NOT NULL) = (state = 'failed')),
    answer          text,
    ended_at        bigint CHECK ((ended_at IS NOT NULL) = (state IN ('done', 'failed'))),
    PRIMARY KEY (run_id, generation, key)
);

CREATE INDEX steps_by_result_hash ON outlast.steps (result_hash) WHERE result_hash IS NOT NULL;

CREATE TABLE outlast.sessions (
    tenant      text   COLLATE "C" NOT NULL,
    id          text   COLLATE "C" NOT NULL,
    created_at  bigint NOT NULL,
    max_running bigint CHECK (max_running > 0),
    PRIMARY KEY (tenant, id)
);

CREATE INDEX sessions_by_age ON outlast.sessions (tenant, created_at, id);
CREATE INDEX sessions_limited ON outlast.sessions (tenant, id, max_running) WHERE max_running IS NOT NULL;

-- The lanes that hold anybody: how many places are taken and how many runs wait for one. Null is no limit.
CREATE TABLE outlast.lanes (
    tenant      text   COLLATE "C" NOT NULL,
    name        text   COLLATE "C" NOT NULL,
    max_running bigint CHECK (max_running > 0),
    held        bigint NOT NULL CHECK (held >= 0),
    waiting     bigint NOT NULL CHECK (waiting >= 0),
    PRIMARY KEY (tenant, name)
) WITH (fillfactor = 50);

CREATE INDEX lanes_with_room ON outlast.lanes (tenant, name)
    WHERE waiting > 0 AND (max_running IS NULL OR held < max_running);

-- Attempts whose run has ended while something of them may still be there: they keep its places (a JSON array of lanes).
CREATE TABLE outlast.remains (
    attempt_id text COLLATE "C" NOT NULL PRIMARY KEY,
    worker_id  text COLLATE "C" NOT NULL,
    tenant     text COLLATE "C" NOT NULL,
    places     text NOT NULL
);

-- Bytes by the SHA-256 of what they are; `envelope` says how they are stored (0: as they are).
CREATE TABLE outlast.blobs (
    tenant     text    COLLATE "C" NOT NULL,
    hash       bytea   NOT NULL,
    envelope   integer NOT NULL,
    touched_at bigint  NOT NULL,
    bytes      bytea   NOT NULL,
    PRIMARY KEY (tenant, hash)
);

CREATE TABLE outlast.outbox (
    id          text   COLLATE "C" NOT NULL PRIMARY KEY,
    run_id      text   COLLATE "C" NOT NULL,
    tenant      text   COLLATE "C" NOT NULL,
    url         text   NOT NULL,
    receiver    text   COLLATE "C" NOT NULL,
    head        bytea  NOT NULL,
    result      bytea,
    result_hash bytea,
    result_size bigint,
    created_at  bigint NOT NULL,
    due_at      bigint NOT NULL,
    tries       bigint NOT NULL
);

CREATE INDEX outbox_by_receiver ON outlast.outbox (receiver, due_at);
CREATE INDEX outbox_by_result_hash ON outlast.outbox (result_hash) WHERE result_hash IS NOT NULL;

-- Recurring runs. Every change is a compare-and-set on `revision`; a fire writes its run in the same transaction.
CREATE TABLE outlast.schedules (
    id           text    COLLATE "C" NOT NULL PRIMARY KEY,
    tenant       text    COLLATE "C" NOT NULL,
    name         text    COLLATE "C" NOT NULL,
    cron         text    NOT NULL,
    timezone     text    NOT NULL,
    missed       text    NOT NULL CHECK (missed IN ('skip', 'run_once')),
    run          bytea   NOT NULL,
    paused       boolean NOT NULL,
    created_at   bigint  NOT NULL,
    created_by   text,
    revision     bigint  NOT NULL,
    next_fire_at bigint  CHECK ((next_fire_at IS NULL) = paused),
    last_fire_at bigint,
    last_run_id  text,
    last_error   text
);

CREATE INDEX schedules_by_tenant ON outlast.schedules (tenant, id);
CREATE INDEX schedules_by_next_fire ON outlast.schedules (next_fire_at) WHERE next_fire_at IS NOT NULL;

-- How many runs there are, per tenant, session ('' for all of the tenant) and status: the sum over the shards. Each
-- writing connection adds to a shard of its own, else all commits of all servers would wait for one row.
CREATE TABLE outlast.counters (
    tenant     text    COLLATE "C" NOT NULL,
    session_id text    COLLATE "C" NOT NULL,
    status     text    COLLATE "C" NOT NULL,
    shard      integer NOT NULL,
    n          bigint  NOT NULL,
    PRIMARY KEY (tenant, session_id, status, shard)
) WITH (fillfactor = 50);

CREATE TABLE outlast.workers (
    id          text   COLLATE "C" NOT NULL PRIMARY KEY,
    started_at  bigint NOT NULL,
    lease_until bigint NOT NULL,
    lost_at     bigint,
    card        bytea  NOT NULL
) WITH (fillfactor = 50);
