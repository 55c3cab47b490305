WITH new (id, ended_at, "end") AS (VALUES :rows)
UPDATE attempts
SET ended_at = new.ended_at,
    "end" = new."end"
FROM new
WHERE attempts.id = new.id
