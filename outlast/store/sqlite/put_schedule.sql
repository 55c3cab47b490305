INSERT OR REPLACE INTO schedules (
    id, tenant, name, cron, timezone, missed, run, paused, created_at, created_by, revision,
    next_fire_at, last_fire_at, last_run_id, last_error
)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
