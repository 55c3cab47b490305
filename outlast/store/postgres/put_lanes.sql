INSERT INTO outlast.lanes (tenant, name, max_running, held, waiting)
SELECT *
FROM unnest(?::text[], ?::text[], ?::bigint[], ?::bigint[], ?::bigint[]) AS new
ON CONFLICT (tenant, name) DO UPDATE
SET max_running = excluded.max_running,
    held = excluded.held,
    waiting = excluded.waiting
