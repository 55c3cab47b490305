SELECT revision
FROM outlast.schedules
WHERE id = $1
FOR UPDATE
