SELECT calls.status, calls.streamed, coalesce(calls.answer, blobs.bytes)
FROM calls
JOIN runs ON runs.id = calls.run_id
LEFT JOIN blobs ON blobs.tenant = runs.tenant AND blobs.hash = calls.answer_hash
WHERE calls.run_id = ?
  AND calls.generation = ?
  AND calls.hash = ?
  AND calls.n = ?
