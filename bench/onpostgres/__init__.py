"""Outlast on PostgreSQL under measurement: servers and workers as processes of their own, on one database."""
