INSERT INTO pins (run_id, generation, key, k, content, content_hash)
VALUES :rows
ON CONFLICT DO NOTHING
