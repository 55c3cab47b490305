INSERT INTO pins (run_id, generation, key, k, content, content_hash)
SELECT ?1, 1, key, k, content, content_hash
FROM pins
WHERE run_id = ?2
  AND generation = ?3
