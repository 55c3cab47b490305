SELECT :head
FROM outlast.runs
WHERE tenant = $1
  AND idempotency_session = $2
  AND idempotency_key = $3
