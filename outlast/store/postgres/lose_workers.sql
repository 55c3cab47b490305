-- Mark the workers whose lease has ended, and forget those lost long ago; the answer is the time. A worker that renews
-- at this very moment is either too late (it finds itself lost) or has done so (and is not marked).
WITH now AS MATERIALIZED (
    SELECT outlast.outlast_now() AS at
), lost AS (
    UPDATE outlast.workers
    SET lost_at = now.at
    FROM now
    WHERE workers.id IN (
        SELECT id
        FROM outlast.workers
        WHERE lost_at IS NULL
          AND lease_until <= (SELECT at FROM now)
        FOR UPDATE SKIP LOCKED
    )
), forgotten AS (
    DELETE FROM outlast.workers
    USING now
    WHERE lost_at < now.at - $1::bigint
)
SELECT at
FROM now
