INSERT INTO workers (id, started_at, lease_until, card)
VALUES (?1, ?2, ?3, ?4)
ON CONFLICT DO UPDATE SET lease_until = excluded.lease_until, card = excluded.card
WHERE lost_at IS NULL AND lease_until > ?2
RETURNING id
