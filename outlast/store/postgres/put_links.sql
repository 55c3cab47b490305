-- Links that are there stay. Old ones are young again, so that they are not swept before their call refers to them: one
-- that the sweep has just taken comes back, one that it is about to take it finds young. Young ones are not even locked:
-- the runs of a tenant use the same ones all the time.
INSERT INTO outlast.links (tenant, hash, before, content, content_hash, touched_at)
SELECT new.*, outlast.outlast_now()
FROM unnest(?::text[], ?::bytea[], ?::bytea[], ?::bytea[], ?::bytea[])
    AS new (tenant, hash, before, content, content_hash)
WHERE NOT EXISTS (
    SELECT
    FROM outlast.links
    WHERE links.tenant = new.tenant
      AND links.hash = new.hash
      AND links.touched_at > outlast.outlast_now() - ?::bigint
)
ON CONFLICT (tenant, hash) DO UPDATE SET touched_at = excluded.touched_at
