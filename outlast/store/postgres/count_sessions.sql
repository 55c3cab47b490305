-- Counted only so far.
SELECT count(*)
FROM (SELECT FROM outlast.sessions WHERE tenant = $1 LIMIT $2) AS counted
