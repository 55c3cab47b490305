INSERT INTO outlast.schedules (:schedule)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET (:schedule) = ROW(excluded.*)
