SELECT :head
FROM runs
WHERE tenant = ?
  AND idempotency_session = ?
  AND idempotency_key = ?
