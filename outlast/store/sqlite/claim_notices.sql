UPDATE outbox
SET due_at = ?2,
    tries = tries + 1
WHERE id IN (SELECT id FROM outbox WHERE due_at <= ?1 ORDER BY due_at LIMIT ?3)
RETURNING id, run_id, tenant, url, head, result, result_hash, result_size, tries - 1, created_at
