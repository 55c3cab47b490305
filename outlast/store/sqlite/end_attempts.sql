WITH new (run_id, number, ended_at, "end") AS (VALUES :rows)
UPDATE attempts
SET ended_at = new.ended_at,
    "end" = new."end"
FROM new
WHERE attempts.run_id = new.run_id
  AND attempts.number = new.number
