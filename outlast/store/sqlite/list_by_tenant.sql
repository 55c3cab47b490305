SELECT id
FROM runs INDEXED BY runs_by_tenant
WHERE tenant = :tenant
  AND id < :before
ORDER BY id DESC
LIMIT :size OFFSET :offset
