-- A generation of run ?2 (?3), whose last event has the number ?4, as the first of run ?1: its numbers go below 1 and
-- keep their order. With ?5 without the last answered call.
INSERT INTO calls (
    run_id, generation, hash, n, seq, head, last, status, streamed, answer, answer_hash
)
SELECT ?1, 1, hash, n, seq - ?4, head, last, status, streamed, answer, answer_hash
FROM calls
WHERE run_id = ?2
  AND generation = ?3
  AND (
      NOT ?5
      OR seq IS NOT (SELECT max(seq) FROM calls WHERE run_id = ?2 AND generation = ?3 AND status BETWEEN 200 AND 299)
  )
