INSERT INTO outlast.remains (attempt_id, worker_id, tenant, places)
SELECT *
FROM unnest(?::text[], ?::text[], ?::text[], ?::text[]) AS new
