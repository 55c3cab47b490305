INSERT INTO attempts (id, run_id, number, worker_id, started_at, ended_at, "end")
VALUES :rows
