DELETE FROM remains
WHERE attempt_id = ?
