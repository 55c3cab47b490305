-- Bytes that no run, no notice and no journal refers to, among the blobs of one stretch of the table. A blob is written
-- before what refers to it, so young ones stay.
DELETE FROM blobs
WHERE rowid > ?1
  AND rowid <= ?2
  AND touched_at < ?3
  AND NOT EXISTS (SELECT 1 FROM runs WHERE request_hash = blobs.hash AND runs.tenant = blobs.tenant)
  AND NOT EXISTS (SELECT 1 FROM runs WHERE result_hash = blobs.hash AND runs.tenant = blobs.tenant)
  AND NOT EXISTS (SELECT 1 FROM outbox WHERE result_hash = blobs.hash AND outbox.tenant = blobs.tenant)
  AND NOT EXISTS (SELECT 1 FROM steps WHERE result_hash = blobs.hash)
  AND NOT EXISTS (SELECT 1 FROM calls WHERE answer_hash = blobs.hash)
  AND NOT EXISTS (SELECT 1 FROM pins WHERE content_hash = blobs.hash)
  AND NOT EXISTS (SELECT 1 FROM links WHERE content_hash = blobs.hash AND links.tenant = blobs.tenant)
