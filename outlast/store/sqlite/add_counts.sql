INSERT INTO counters (tenant, session_id, status, shard, n)
VALUES :rows
ON CONFLICT DO UPDATE SET n = n + excluded.n
