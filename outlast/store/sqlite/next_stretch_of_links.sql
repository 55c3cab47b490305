SELECT max(rowid)
FROM (SELECT rowid FROM links WHERE rowid > ? ORDER BY rowid LIMIT 500)
