-- Its attempts and events go with it; a notice it still owes stays.
DELETE FROM runs
WHERE id = ?
