SELECT pins.k, coalesce(pins.content, blobs.bytes)
FROM outlast.pins
JOIN outlast.runs ON runs.id = pins.run_id
LEFT JOIN outlast.blobs ON blobs.tenant = runs.tenant AND blobs.hash = pins.content_hash
WHERE pins.run_id = $1
  AND pins.generation = $2
