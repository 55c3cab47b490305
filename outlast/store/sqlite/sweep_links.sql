-- Links that no call and no link refers to, among those of one stretch of the table, and the links before them that only
-- they refer to: a chain goes as a whole. Young ones stay, as with blobs.
WITH RECURSIVE gone (tenant, hash, before) AS (
    SELECT tenant, hash, before
    FROM links
    WHERE rowid > ?1
      AND rowid <= ?2
      AND touched_at < ?3
      AND NOT EXISTS (SELECT 1 FROM links AS later WHERE later.before = links.hash)
      AND NOT EXISTS (SELECT 1 FROM calls WHERE last = links.hash)
      AND NOT EXISTS (SELECT 1 FROM calls WHERE head = links.hash)
    UNION ALL
    SELECT links.tenant, links.hash, links.before
    FROM gone
    JOIN links ON links.tenant = gone.tenant AND links.hash = gone.before
    WHERE links.touched_at < ?3
      AND (SELECT count(*) FROM (SELECT 1 FROM links AS later WHERE later.before = links.hash LIMIT 2)) = 1
      AND NOT EXISTS (SELECT 1 FROM calls WHERE last = links.hash)
      AND NOT EXISTS (SELECT 1 FROM calls WHERE head = links.hash)
    LIMIT 2000
)
DELETE FROM links
WHERE (tenant, hash) IN (SELECT tenant, hash FROM gone)
