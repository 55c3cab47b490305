"""What can run: the protocol a runner speaks, the registry, and the runners that are always there."""
