WITH gone AS (
    SELECT id
    FROM unnest($1::text[]) AS deleted (id)
), unasked AS (
    DELETE FROM outlast.calls
    USING gone
    WHERE run_id = gone.id
)
DELETE FROM outlast.pins
USING gone
WHERE run_id = gone.id
