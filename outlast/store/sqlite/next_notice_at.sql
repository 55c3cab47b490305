SELECT min(due_at)
FROM outbox
