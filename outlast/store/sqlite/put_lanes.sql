INSERT INTO lanes (tenant, name, max_running, held, waiting)
VALUES :rows
ON CONFLICT DO UPDATE SET max_running = excluded.max_running, held = excluded.held, waiting = excluded.waiting
