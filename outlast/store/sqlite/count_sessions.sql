-- Counted only so far.
SELECT count(*)
FROM (SELECT 1 FROM sessions INDEXED BY sessions_by_age WHERE tenant = ?1 LIMIT ?2)
