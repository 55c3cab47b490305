-- Counted only so far: the total of an odd filter is exact up to :most.
SELECT count(*)
FROM (
    SELECT 1
    FROM runs
    WHERE tenant = :tenant
      AND (:status IS NULL OR status = :status)
      AND (:session_id IS NULL OR session_id = :session_id)
      AND (:agent IS NULL OR agent = :agent)
      AND (:framework IS NULL OR framework = :framework)
      AND (:schedule_id IS NULL OR schedule_id = :schedule_id)
    LIMIT :most
)
