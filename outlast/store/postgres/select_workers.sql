-- Workers, oldest first, with the runs of one tenant (null is every tenant) that each holds, and its places that any hold.
SELECT workers.id, card, started_at, lease_until, lost_at, held.runs, held.shared, held.isolated
FROM outlast.workers
CROSS JOIN LATERAL (
    SELECT
        coalesce(array_agg(runs.id ORDER BY runs.id) FILTER (WHERE $1::text IS NULL OR runs.tenant = $1), '{}') AS runs,
        count(*) FILTER (WHERE runs.kind = 'shared') AS shared,
        count(*) FILTER (WHERE runs.kind = 'isolated') AS isolated
    FROM outlast.runs
    WHERE runs.worker_id = workers.id
) AS held
ORDER BY started_at, id
