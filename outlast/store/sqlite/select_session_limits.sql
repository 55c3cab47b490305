-- Of these sessions (a JSON array of tenant and id), those with a limit of their own.
SELECT sessions.tenant, sessions.id, sessions.max_running
FROM json_each(?)
CROSS JOIN sessions INDEXED BY sessions_limited
WHERE sessions.tenant = json_extract(json_each.value, '$[0]')
  AND sessions.id = json_extract(json_each.value, '$[1]')
  AND sessions.max_running IS NOT NULL
