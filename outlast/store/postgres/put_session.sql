INSERT INTO outlast.sessions (tenant, id, created_at, max_running)
VALUES ($1, $2, outlast.outlast_now(), $3)
ON CONFLICT (tenant, id) DO UPDATE SET max_running = excluded.max_running
