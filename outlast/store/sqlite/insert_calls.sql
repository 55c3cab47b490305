-- A call that is there already stays as it is: what an attempt was told once, it is told again.
INSERT INTO calls (
    run_id, generation, hash, n, seq, head, last, status, streamed, answer, answer_hash
)
VALUES :rows
ON CONFLICT DO NOTHING
