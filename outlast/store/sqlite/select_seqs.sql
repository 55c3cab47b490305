SELECT id, seq
FROM runs
WHERE id IN (SELECT value FROM json_each(?))
