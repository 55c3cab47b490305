-- A call that is there already stays as it is: what an attempt was told once, it is told again.
INSERT INTO outlast.calls (
    run_id, generation, hash, n, seq, head, last, status, streamed, answer, answer_hash
)
SELECT *
FROM unnest(
    ?::text[], ?::integer[], ?::bytea[], ?::integer[], ?::bigint[], ?::bytea[], ?::bytea[], ?::smallint[],
    ?::boolean[], ?::bytea[], ?::bytea[]
)
ON CONFLICT DO NOTHING
