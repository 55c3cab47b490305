-- Bytes that no run and no notice refers to. A blob is written before the run that refers to it, so young ones stay.
DELETE FROM blobs
WHERE rowid IN (
    SELECT rowid
    FROM blobs
    WHERE touched_at < ?
      AND NOT EXISTS (SELECT 1 FROM runs WHERE request_hash = blobs.hash AND runs.tenant = blobs.tenant)
      AND NOT EXISTS (SELECT 1 FROM runs WHERE result_hash = blobs.hash AND runs.tenant = blobs.tenant)
      AND NOT EXISTS (SELECT 1 FROM outbox WHERE result_hash = blobs.hash AND outbox.tenant = blobs.tenant)
    LIMIT 100
)
