SELECT count(*)
FROM outlast.schedules
WHERE tenant = $1
