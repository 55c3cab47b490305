SELECT id, created_at, max_running
FROM sessions
WHERE tenant = ?
  AND id = ?
