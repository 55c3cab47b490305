DELETE FROM outlast.steps
WHERE run_id = ANY($1::text[])
