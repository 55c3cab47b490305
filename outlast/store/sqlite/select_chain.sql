WITH RECURSIVE chain (depth, before, content, content_hash) AS (
    SELECT 0, before, content, content_hash
    FROM links
    WHERE tenant = ?1
      AND hash = ?2
    UNION ALL
    SELECT chain.depth + 1, links.before, links.content, links.content_hash
    FROM chain
    JOIN links ON links.tenant = ?1 AND links.hash = chain.before
)
SELECT coalesce(chain.content, blobs.bytes)
FROM chain
LEFT JOIN blobs ON blobs.tenant = ?1 AND blobs.hash = chain.content_hash
ORDER BY chain.depth DESC
