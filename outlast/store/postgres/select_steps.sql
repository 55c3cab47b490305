SELECT :step
FROM unnest(?::text[], ?::bigint[], ?::text[]) AS place (run_id, generation, key)
JOIN outlast.steps USING (run_id, generation, key)
