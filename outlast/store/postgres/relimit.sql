-- The limits in the settings may be others since the last start.
UPDATE outlast.lanes
SET max_running = CASE
    WHEN name = 'tenant' THEN $1::bigint
    WHEN name LIKE 'agent:%' THEN (
        SELECT limits.max_running
        FROM unnest($2::text[], $3::bigint[]) AS limits (agent, max_running)
        WHERE limits.agent = substr(lanes.name, 7)
    )
    ELSE coalesce(
        (
            SELECT sessions.max_running
            FROM outlast.sessions
            WHERE sessions.tenant = lanes.tenant
              AND sessions.id = substr(lanes.name, 9)
        ),
        $4::bigint
    )
END
WHERE tenant = ANY($5::text[])
