UPDATE workers
SET lost_at = ?1
WHERE lost_at IS NULL
  AND lease_until <= ?1
