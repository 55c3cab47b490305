SELECT id
FROM runs INDEXED BY runs_by_status
WHERE tenant = :tenant
  AND status = :status
  AND id < :before
ORDER BY id DESC
LIMIT :size OFFSET :offset
