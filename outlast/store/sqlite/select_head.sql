SELECT :head
FROM runs
WHERE id = ?
