"""Takes runs, carries them in processes of their own, and leaves nothing behind."""
