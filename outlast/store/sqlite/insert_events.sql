INSERT INTO events (run_id, seq, kind, at, attempt_id, data)
VALUES :rows
