SELECT bytes
FROM blobs
WHERE tenant = ?
  AND hash = ?
