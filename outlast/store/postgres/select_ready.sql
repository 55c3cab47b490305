-- Ready runs of one kind in queue order, for the runners and of the queues (null is every queue) that a worker has,
-- without those of `$5`. Runner and queue lead the index, so a backlog that this worker cannot take costs it nothing.
-- Up to the limit of every pair are locked; how many in all is in the last column, for the others are free again at once
-- and whoever skipped them has to be told.
WITH RECURSIVE hops (runner, queue) AS (
    SELECT
        offered.runner,
        (
            SELECT min(runs.queue)
            FROM outlast.runs
            WHERE runs.ready
              AND runs.kind = $1
              AND runs.runner = offered.runner
        )
    FROM unnest($2::text[]) AS offered (runner)
    WHERE $3::text[] IS NULL
    UNION ALL
    SELECT
        hops.runner,
        (
            SELECT min(runs.queue)
            FROM outlast.runs
            WHERE runs.ready
              AND runs.kind = $1
              AND runs.runner = hops.runner
              AND runs.queue > hops.queue
        )
    FROM hops
    WHERE hops.queue IS NOT NULL
), lines (runner, queue) AS (
    SELECT runner, queue
    FROM hops
    WHERE queue IS NOT NULL
    UNION ALL
    SELECT offered.runner, served.queue
    FROM unnest($2::text[]) AS offered (runner)
    CROSS JOIN unnest($3::text[]) AS served (queue)
)
SELECT :head, request, request_hash, outlast.outlast_now(), count(*) OVER ()
FROM lines
CROSS JOIN LATERAL (
    SELECT *
    FROM outlast.runs
    WHERE runs.ready
      AND runs.kind = $1
      AND runs.runner = lines.runner
      AND runs.queue = lines.queue
      AND runs.id <> ALL($5::text[])
    ORDER BY runs.order_at, runs.id
    LIMIT $4
    FOR UPDATE SKIP LOCKED
) AS runs
ORDER BY order_at, id
LIMIT $4
