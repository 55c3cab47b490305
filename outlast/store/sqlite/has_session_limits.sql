SELECT EXISTS (SELECT 1 FROM sessions INDEXED BY sessions_limited WHERE max_running IS NOT NULL)
