SELECT coalesce(result, (SELECT bytes FROM outlast.blobs WHERE tenant = runs.tenant AND hash = result_hash))
FROM outlast.runs
WHERE id = $1
