DELETE FROM outlast.remains
WHERE attempt_id = ANY($1::text[])
