-- Counted only so far: the total of an odd filter is exact up to `$7`.
SELECT count(*)
FROM (
    SELECT
    FROM outlast.runs
    WHERE tenant = $1
      AND ($2::text IS NULL OR status = $2)
      AND ($3::text IS NULL OR session_id = $3)
      AND ($4::text IS NULL OR agent = $4)
      AND ($5::text IS NULL OR framework = $5)
      AND ($6::text IS NULL OR schedule_id = $6)
    LIMIT $7
) AS counted
