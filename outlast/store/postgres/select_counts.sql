SELECT session_id, status, sum(n)::bigint
FROM outlast.counters
WHERE tenant = $1
  AND session_id = ANY($2::text[])
GROUP BY session_id, status
