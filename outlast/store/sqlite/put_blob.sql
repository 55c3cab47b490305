INSERT INTO blobs (tenant, hash, envelope, touched_at, bytes)
VALUES (?, ?, 0, ?, ?)
ON CONFLICT DO UPDATE SET touched_at = excluded.touched_at
