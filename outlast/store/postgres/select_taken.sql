-- What stood in the way of submits: the runs that have their ids or their idempotency keys.
SELECT :head
FROM outlast.runs
WHERE id = ANY($1::text[])
UNION
SELECT :head
FROM outlast.runs
JOIN unnest($2::text[], $3::text[], $4::text[]) AS place (of_tenant, of_session, of_key)
ON tenant = of_tenant
  AND idempotency_session = of_session
  AND idempotency_key = of_key
