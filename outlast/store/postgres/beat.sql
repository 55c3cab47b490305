INSERT INTO outlast.workers (id, started_at, lease_until, card)
SELECT $1::text, now.at, now.at + $2::bigint, $3::bytea
FROM (SELECT outlast.outlast_now() AS at OFFSET 0) AS now
ON CONFLICT (id) DO UPDATE SET lease_until = excluded.lease_until, card = excluded.card
WHERE workers.lost_at IS NULL
  AND workers.lease_until > excluded.started_at
RETURNING id
