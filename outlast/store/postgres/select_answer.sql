SELECT calls.status, calls.streamed, coalesce(calls.answer, blobs.bytes)
FROM outlast.calls
JOIN outlast.runs ON runs.id = calls.run_id
LEFT JOIN outlast.blobs ON blobs.tenant = runs.tenant AND blobs.hash = calls.answer_hash
WHERE calls.run_id = $1
  AND calls.generation = $2
  AND calls.hash = $3
  AND calls.n = $4
