-- The file has one owner: whoever held a lease before this start is gone.
UPDATE workers
SET lease_until = min(lease_until, ?)
WHERE lost_at IS NULL
