INSERT INTO outlast.blobs (tenant, hash, envelope, touched_at, bytes)
VALUES ($1, $2, 0, outlast.outlast_now(), $3)
ON CONFLICT (tenant, hash) DO UPDATE SET touched_at = excluded.touched_at
