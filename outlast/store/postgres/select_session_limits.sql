-- Of these sessions, those with a limit of their own.
SELECT tenant, id, max_running
FROM unnest($1::text[], $2::text[]) AS asked (of_tenant, of_id)
JOIN outlast.sessions
ON tenant = of_tenant
  AND id = of_id
WHERE max_running IS NOT NULL
