-- A call that is there already stays as it is: what an attempt was told once, it is told again.
INSERT INTO outlast.calls (
    run_id, generation, hash, n, seq, path, head, last, status, content_type, streamed, answer, answer_hash
)
SELECT *
FROM unnest(
    ?::text[], ?::bigint[], ?::bytea[], ?::bigint[], ?::bigint[], ?::text[], ?::bytea[], ?::bytea[], ?::bigint[],
    ?::text[], ?::boolean[], ?::bytea[], ?::bytea[]
)
ON CONFLICT DO NOTHING
