-- A call that is there already stays as it is: what an attempt was told once, it is told again.
INSERT INTO calls (
    run_id, generation, hash, n, seq, path, head, last, status, content_type, streamed, answer, answer_hash
)
VALUES :rows
ON CONFLICT DO NOTHING
