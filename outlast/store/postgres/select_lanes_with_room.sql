-- A limit was raised by more than one commit uses up, or is another since the last start.
SELECT tenant, name, max_running, held, waiting
FROM outlast.lanes
WHERE waiting > 0
  AND (max_running IS NULL OR held < max_running)
  AND tenant = ANY($1::text[])
LIMIT 100
