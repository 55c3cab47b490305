-- Links that are there stay; old ones are young again, so that they are not swept before their call refers to them.
INSERT INTO links (tenant, hash, before, content, content_hash, touched_at)
VALUES :rows
ON CONFLICT DO UPDATE SET touched_at = excluded.touched_at WHERE touched_at < excluded.touched_at - 1800000
