SELECT id, seq
FROM outlast.runs
WHERE id = ANY($1::text[])
