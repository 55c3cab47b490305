-- A generation of run $2 ($3), whose last event has the number $4, as the first of run $1: its numbers go below 1 and
-- keep their order. With $5 without the last answered call.
INSERT INTO outlast.calls (
    run_id, generation, hash, n, seq, head, last, status, streamed, answer, answer_hash
)
SELECT $1::text, 1, hash, n, seq - $4::bigint, head, last, status, streamed, answer, answer_hash
FROM outlast.calls
WHERE run_id = $2
  AND generation = $3
  AND (
      NOT $5::boolean
      OR seq IS DISTINCT FROM (
          SELECT max(seq)
          FROM outlast.calls
          WHERE run_id = $2
            AND generation = $3
            AND status BETWEEN 200 AND 299
      )
  )
