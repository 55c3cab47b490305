-- A lost worker is remembered for as long as it might come back and ask.
DELETE FROM workers
WHERE lost_at < ?
