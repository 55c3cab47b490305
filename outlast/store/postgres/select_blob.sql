SELECT bytes
FROM outlast.blobs
WHERE tenant = $1
  AND hash = $2
