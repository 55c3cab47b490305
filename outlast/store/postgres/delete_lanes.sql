DELETE FROM outlast.lanes
USING unnest(?::text[], ?::text[]) AS emptied (of_tenant, of_name)
WHERE tenant = of_tenant
  AND name = of_name
