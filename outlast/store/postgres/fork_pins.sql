INSERT INTO outlast.pins (run_id, generation, key, k, content, content_hash)
SELECT $1::text, 1, key, k, content, content_hash
FROM outlast.pins
WHERE run_id = $2
  AND generation = $3
