SELECT revision
FROM schedules
WHERE id = ?
