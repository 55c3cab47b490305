INSERT INTO sessions (tenant, id, created_at)
VALUES :rows
ON CONFLICT DO NOTHING
