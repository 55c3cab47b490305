SELECT pg_notify('outlast', payload)
FROM unnest($1::text[]) AS new (payload)
