INSERT INTO attempts (run_id, number, id, worker_id, started_at, ended_at, "end")
VALUES :rows
