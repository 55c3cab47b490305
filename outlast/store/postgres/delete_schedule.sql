DELETE FROM outlast.schedules
WHERE id = $1
