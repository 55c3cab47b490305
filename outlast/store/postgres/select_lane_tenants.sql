-- Needs no lock: a run that gets lanes meanwhile (its session is limited) is found out once its head is locked.
SELECT DISTINCT tenant
FROM outlast.runs
WHERE id = ANY($1::text[])
  AND lanes <> ''
