INSERT INTO outlast.pins (run_id, generation, key, k, content, content_hash)
SELECT *
FROM unnest(?::text[], ?::integer[], ?::bytea[], ?::integer[], ?::bytea[], ?::bytea[])
ON CONFLICT DO NOTHING
