-- What a run's lanes are never changes, so this needs no lock.
SELECT DISTINCT tenant
FROM outlast.runs
WHERE id = ANY($1::text[])
  AND lanes <> ''
