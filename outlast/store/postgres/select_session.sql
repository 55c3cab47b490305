SELECT id, created_at, max_running
FROM outlast.sessions
WHERE tenant = $1
  AND id = $2
