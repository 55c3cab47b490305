-- The last call that a provider answered; refusals stay.
DELETE FROM calls
WHERE run_id = ?1
  AND generation = ?2
  AND seq = (SELECT max(seq) FROM calls WHERE run_id = ?1 AND generation = ?2 AND status BETWEEN 200 AND 299)
