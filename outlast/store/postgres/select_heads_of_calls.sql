SELECT links.hash, coalesce(links.content, blobs.bytes)
FROM (
    SELECT DISTINCT runs.tenant, calls.head
    FROM outlast.runs
    JOIN outlast.calls ON calls.run_id = runs.id AND calls.generation = $2
    WHERE runs.id = $1
) AS used
JOIN outlast.links ON links.tenant = used.tenant AND links.hash = used.head
LEFT JOIN outlast.blobs ON blobs.tenant = links.tenant AND blobs.hash = links.content_hash
