SELECT events.seq, events.at, coalesce(attempts.number, runs.attempt), events.data
FROM events
JOIN runs ON runs.id = events.run_id
LEFT JOIN attempts ON attempts.run_id = events.run_id AND attempts.id = events.attempt_id
WHERE events.run_id = ?1
  AND events.kind = 'model_call'
  AND events.seq > ?2
ORDER BY events.seq
LIMIT ?3
