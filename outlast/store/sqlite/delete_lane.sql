DELETE FROM lanes
WHERE tenant = ?
  AND name = ?
