-- Bytes that no run, no notice and no journal refers to, among the next of the table after a given one, which the answer is. A blob
-- is written before what refers to it, so young ones stay; one that is put again at this moment is young.
WITH stretch AS (
    SELECT tenant, hash, touched_at
    FROM outlast.blobs
    WHERE (tenant, hash) > ($1::text, $2::bytea)
    ORDER BY tenant, hash
    LIMIT 200
), gone AS (
    DELETE FROM outlast.blobs
    USING stretch
    WHERE blobs.tenant = stretch.tenant
      AND blobs.hash = stretch.hash
      AND blobs.touched_at < outlast.outlast_now() - $3::bigint
      AND NOT EXISTS (SELECT FROM outlast.runs WHERE request_hash = blobs.hash AND runs.tenant = blobs.tenant)
      AND NOT EXISTS (SELECT FROM outlast.runs WHERE result_hash = blobs.hash AND runs.tenant = blobs.tenant)
      AND NOT EXISTS (SELECT FROM outlast.outbox WHERE result_hash = blobs.hash AND outbox.tenant = blobs.tenant)
      AND NOT EXISTS (SELECT FROM outlast.steps WHERE result_hash = blobs.hash)
      AND NOT EXISTS (SELECT FROM outlast.calls WHERE answer_hash = blobs.hash)
      AND NOT EXISTS (SELECT FROM outlast.pins WHERE content_hash = blobs.hash)
      AND NOT EXISTS (SELECT FROM outlast.links WHERE content_hash = blobs.hash AND links.tenant = blobs.tenant)
)
SELECT tenant, hash
FROM stretch
ORDER BY tenant DESC, hash DESC
LIMIT 1
