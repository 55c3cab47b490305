SELECT coalesce(sum(octet_length(data)), 0)::bigint
FROM outlast.events
WHERE run_id = $1
  AND kind = 'log'
