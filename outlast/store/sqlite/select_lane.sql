SELECT tenant, name, max_running, held, waiting
FROM lanes
WHERE tenant = ?
  AND name = ?
