SELECT id
FROM runs INDEXED BY runs_by_schedule
WHERE tenant = :tenant
  AND schedule_id = :schedule_id
  AND (:status IS NULL OR status = :status)
  AND (:agent IS NULL OR agent = :agent)
  AND (:framework IS NULL OR framework = :framework)
  AND id < :before
ORDER BY id DESC
LIMIT :size OFFSET :offset
