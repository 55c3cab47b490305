SELECT tenant, name, max_running, held, waiting
FROM unnest($1::text[], $2::text[]) AS asked (of_tenant, of_name)
JOIN outlast.lanes
ON tenant = of_tenant
  AND name = of_name
