INSERT INTO remains (attempt_id, worker_id, tenant, places)
VALUES :rows
