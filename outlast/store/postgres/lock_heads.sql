-- The heads of these runs, locked in the order of their ids, and the time once they are: one row at least. Whoever holds
-- more than one run took them in this order, so nobody waits in a circle.
SELECT :head, outlast.outlast_now()
FROM (SELECT) AS one
LEFT JOIN (
    SELECT *
    FROM outlast.runs
    WHERE id = ANY($1::text[])
    ORDER BY id
    FOR UPDATE
) AS runs
ON true
