-- One at a time changes the lanes of a tenant. In the order of the names, and before any head is locked.
SELECT pg_advisory_xact_lock(hashtextextended(tenant, 0))
FROM unnest($1::text[]) AS asked (tenant)
