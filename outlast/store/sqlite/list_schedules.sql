SELECT :schedule
FROM schedules
WHERE tenant = ?
ORDER BY id DESC
LIMIT ? OFFSET ?
