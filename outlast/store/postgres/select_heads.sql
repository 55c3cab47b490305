SELECT :head
FROM outlast.runs
WHERE id = ANY($1::text[])
