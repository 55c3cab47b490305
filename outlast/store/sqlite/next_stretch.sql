SELECT max(rowid)
FROM (SELECT rowid FROM blobs WHERE rowid > ? ORDER BY rowid LIMIT 200)
