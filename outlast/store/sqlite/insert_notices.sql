INSERT INTO outbox (
    id, run_id, tenant, url, receiver, head, result, result_hash, result_size, created_at, due_at, tries
)
VALUES :rows
