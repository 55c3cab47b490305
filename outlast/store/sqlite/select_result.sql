SELECT tenant, result, result_hash
FROM runs
WHERE id = ?
