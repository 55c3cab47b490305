INSERT INTO sessions (tenant, id, created_at, max_running)
VALUES (?, ?, ?, ?)
ON CONFLICT DO UPDATE SET max_running = excluded.max_running
