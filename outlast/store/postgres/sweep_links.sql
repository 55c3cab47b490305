-- Links that no call and no link refers to, among the next of the table after a given one, which the answer is, and the
-- links before them that only they refer to: a chain goes as a whole. Young ones stay, as with blobs; one that is put
-- again at this moment is young.
WITH RECURSIVE stretch AS (
    SELECT tenant, hash, before, touched_at
    FROM outlast.links
    WHERE (tenant, hash) > ($1::text, $2::bytea)
    ORDER BY tenant, hash
    LIMIT 500
), loose (tenant, hash, before) AS (
    SELECT tenant, hash, before
    FROM stretch
    WHERE touched_at < outlast.outlast_now() - $3::bigint
      AND NOT EXISTS (SELECT FROM outlast.links AS later WHERE later.before = stretch.hash)
      AND NOT EXISTS (SELECT FROM outlast.calls WHERE last = stretch.hash)
      AND NOT EXISTS (SELECT FROM outlast.calls WHERE head = stretch.hash)
    UNION ALL
    SELECT links.tenant, links.hash, links.before
    FROM loose
    JOIN outlast.links ON links.tenant = loose.tenant AND links.hash = loose.before
    WHERE links.touched_at < outlast.outlast_now() - $3::bigint
      AND (SELECT count(*) FROM (SELECT FROM outlast.links AS later WHERE later.before = links.hash LIMIT 2) AS two) = 1
      AND NOT EXISTS (SELECT FROM outlast.calls WHERE last = links.hash)
      AND NOT EXISTS (SELECT FROM outlast.calls WHERE head = links.hash)
), gone AS (
    DELETE FROM outlast.links
    USING (SELECT tenant, hash FROM loose LIMIT 2000) AS swept
    WHERE links.tenant = swept.tenant
      AND links.hash = swept.hash
      AND links.touched_at < outlast.outlast_now() - $3::bigint
)
SELECT tenant, hash
FROM stretch
ORDER BY tenant DESC, hash DESC
LIMIT 1
