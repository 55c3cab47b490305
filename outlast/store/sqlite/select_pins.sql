SELECT pins.k, coalesce(pins.content, blobs.bytes)
FROM pins
JOIN runs ON runs.id = pins.run_id
LEFT JOIN blobs ON blobs.tenant = runs.tenant AND blobs.hash = pins.content_hash
WHERE pins.run_id = ?
  AND pins.generation = ?
