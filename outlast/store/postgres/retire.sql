DELETE FROM outlast.workers
WHERE id = $1
