"""Agent runs that outlast crashes."""
