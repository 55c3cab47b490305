SELECT :schedule
FROM outlast.schedules
WHERE tenant = $1
ORDER BY id DESC
LIMIT $2 OFFSET $3
