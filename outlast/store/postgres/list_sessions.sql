-- Newest first, and older than one that is named by its age and id.
SELECT id, created_at, max_running
FROM outlast.sessions
WHERE tenant = $1
  AND (created_at, id) < ($2::bigint, $3::text)
ORDER BY created_at DESC, id DESC
LIMIT $4 OFFSET $5
