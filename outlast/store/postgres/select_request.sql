SELECT coalesce(request, (SELECT bytes FROM outlast.blobs WHERE tenant = runs.tenant AND hash = request_hash))
FROM outlast.runs
WHERE id = $1
