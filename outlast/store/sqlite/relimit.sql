-- The limits in the settings may be others since the last start.
UPDATE lanes
SET max_running = CASE
    WHEN name = 'tenant' THEN ?1
    WHEN name LIKE 'agent:%' THEN (SELECT value FROM json_each(?2) WHERE key = substr(lanes.name, 7))
    ELSE coalesce(
        (SELECT max_running FROM sessions WHERE sessions.tenant = lanes.tenant AND id = substr(lanes.name, 9)),
        ?3
    )
END
