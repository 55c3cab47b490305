"""Hot queries on full tables touch a few pages, however many runs there are: shown by EXPLAIN of the plans in use."""

import re
from collections.abc import AsyncIterator

import asyncpg
import pytest

from outlast.store.postgres.connection import SESSION, Link
from outlast.store.postgres.statements import sql
from tests.postgres import Postgres

RUNS = 60_000
PAGES = 250
"""A full scan of the smallest of these tables takes several times as many."""

FILL = f"""
INSERT INTO outlast.runs (
    id, tenant, runner, framework, kind, created_at, timeout_s, session_id, queue, priority_s, retry_max_attempts,
    retry_backoff_s, idempotency_key, idempotency_session, state, order_at, due_at, ready, blocked_by, lanes, seq,
    generation, attempt_id, attempt, attempt_at, worker_id, lost, unproven, failures, solo, executed_ms, started_at,
    finished_at, model_calls, input_tokens, output_tokens, cost_nano_usd, unpriced_calls, error_code, request
)
SELECT
    'run_' || lpad(n::text, 10, '0'), 'default', CASE WHEN n % 2 = 0 THEN 'echo' ELSE 'elsewhere' END, 'echo', 'shared',
    n, 60, 's' || n % 1000, 'q' || n % 3, 0, 1, 1, 'k' || n, '', state, n, CASE WHEN n % 50 = 7 THEN n + 1000000 END,
    state = 'queued' AND n % 50 <> 7 AND n % 10 <> 8, CASE WHEN n % 10 = 8 AND state = 'queued' THEN 'session:hot' END,
    '', 1, 1, CASE WHEN state = 'running' THEN 'att_' || n END, 1, n,
    CASE WHEN state = 'running' THEN 'worker_' || n % 40 END, 0, 0, 0, false, 0, n,
    CASE WHEN state = 'failed' THEN n END, 0, 0, 0, 0, 0, CASE WHEN state = 'failed' THEN 'agent_error' END, '{{}}'
FROM (
    SELECT n, CASE WHEN n % 100 = 3 THEN 'running' WHEN n % 3 = 0 THEN 'failed' ELSE 'queued' END AS state
    FROM generate_series(1, {RUNS}) AS n
) AS numbered;
INSERT INTO outlast.events (run_id, seq, kind, at, data) SELECT id, 1, 'status', 1, '{{}}' FROM outlast.runs;
INSERT INTO outlast.workers SELECT 'worker_' || n, 1, 9000000000000000, NULL, '{{}}' FROM generate_series(1, 39) AS n;
INSERT INTO outlast.outbox
SELECT 'ntc_' || n, 'run_' || n, 'default', 'http://a', 'r' || n % 5, '{{}}', NULL, NULL, NULL, 1, n, 0
FROM generate_series(1, {RUNS}) AS n;
INSERT INTO outlast.links
SELECT 'default', decode(md5('' || n), 'hex'), decode(md5('' || n - 1), 'hex'), 1, '1', NULL
FROM generate_series(1, {RUNS}) AS n;
INSERT INTO outlast.calls
SELECT 'run_' || lpad('' || n, 10, '0'), 1, decode(md5('' || n), 'hex'), 1, 1, decode(md5('1'), 'hex'),
    decode(md5('' || n), 'hex'), 200, false, '1', NULL
FROM generate_series(1, {RUNS}) AS n;
INSERT INTO outlast.pins
SELECT 'run_' || lpad('' || n, 10, '0'), 1, decode(md5('' || n), 'hex'), 1, '1', NULL
FROM generate_series(1, {RUNS}) AS n;
INSERT INTO outlast.steps
SELECT 'run_' || lpad('' || n, 10, '0'), 1, 'pay', 'pay', 'once', 'done', 'att', 'step', 1, NULL, '1', NULL, 1,
    NULL, NULL, 1
FROM generate_series(1, {RUNS}) AS n;
ANALYZE;
"""

QUERIES = {
    "select_heads": "ARRAY['run_0000000001', 'run_0000030000']",
    "lock_heads": "ARRAY['run_0000000001', 'run_0000030000']",
    "select_seqs": "ARRAY['run_0000000001', 'run_0000030000']",
    "select_ready": "'shared', ARRAY['echo', 'nobody'], NULL, 5, ARRAY['run_0000000002']",
    "select_due": "1",
    "next_due_at": None,
    "select_orphans": None,
    "select_lane_tenants_to_recover": "1, false",
    "select_held": "'worker_none'",
    "select_by_key": "'default', '', 'k77'",
    "select_taken": "ARRAY['run_0000000001'], ARRAY['default'], ARRAY[''], ARRAY['k77']",
    "select_events": "'run_0000000001', 0, 100",
    "select_blocked": "'default', 'session:hot', 5",
    "list_by_tenant": "'default', '~', 20, 0",
    "list_by_status": "'default', '~', 20, 0, 'failed'",
    "list_by_session": "'default', '~', 20, 0, NULL, 's7', NULL, NULL",
    "select_counts": "'default', ARRAY['']",
    "claim_notices": "10, 8, ARRAY['r1'], 60000",
    "next_notice_at": "ARRAY['r1']",
    "select_steps": "ARRAY['run_0000000001', 'run_0000000002'], ARRAY[1, 1], ARRAY['pay', 'pay']",
    "list_steps": "'run_0000000001', 1, 20, 0",
    "count_steps": "'run_0000000001', 1",
    "select_calls": "'run_0000000001', 1",
    "select_heads_of_calls": "'run_0000000001', 1",
    "select_pins": "'run_0000000001', 1",
    "select_answer": "'run_0000000001', 1, decode(md5('1'), 'hex'), 1",
    "select_chain": "'default', decode(md5('9'), 'hex')",
    "select_model_calls": "'run_0000000001', 0, 100",
    "forget_call": "'run_0000000002', 1",
}


@pytest.fixture(scope="module")
def full(postgres: Postgres) -> str:
    """A database with many runs of all kinds."""
    url = postgres.database()
    postgres.execute(FILL, url.rpartition("/")[2])
    return url


@pytest.fixture
async def link(full: str) -> AsyncIterator[Link]:
    """A connection as the store's own."""
    link = await asyncpg.connect(full)
    await link.execute(SESSION)
    yield link
    await link.close()


@pytest.mark.parametrize("name", QUERIES)
async def test_a_hot_query_touches_few_pages_of_a_full_table(link: Link, name: str) -> None:
    await link.execute(f"PREPARE hot AS {sql(name)}")
    values = f"({QUERIES[name]})" if QUERIES[name] is not None else ""

    found = await link.fetch(f"EXPLAIN (ANALYZE, BUFFERS, TIMING OFF) EXECUTE hot {values}")

    plan = "\n".join(row[0] for row in found)
    assert not re.search(r"Seq Scan on (runs|events|outbox|attempts|calls|pins|links|steps)", plan), plan
    assert _pages(plan) < PAGES, plan


def _pages(plan: str) -> int:
    """Of the whole query: its first line says them."""
    said = re.search(r"Buffers: shared(?: hit=(\d+))?(?: read=(\d+))?", plan)
    return sum(int(n or 0) for n in said.groups()) if said is not None else 0
