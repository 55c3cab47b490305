SELECT count(*)
FROM schedules
WHERE tenant = ?
