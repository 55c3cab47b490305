SELECT :schedule
FROM outlast.schedules
WHERE id = $1
