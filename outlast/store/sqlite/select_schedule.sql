SELECT :schedule
FROM schedules
WHERE id = ?
