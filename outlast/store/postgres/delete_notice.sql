DELETE FROM outlast.outbox
WHERE id = $1
