SELECT links.hash, coalesce(links.content, blobs.bytes)
FROM (SELECT DISTINCT tenant, head FROM calls JOIN runs ON runs.id = calls.run_id WHERE run_id = ? AND calls.generation = ?) AS used
JOIN links ON links.tenant = used.tenant AND links.hash = used.head
LEFT JOIN blobs ON blobs.tenant = links.tenant AND blobs.hash = links.content_hash
