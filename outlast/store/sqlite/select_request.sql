SELECT tenant, request, request_hash
FROM runs
WHERE id = ?
