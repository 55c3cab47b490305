"""Where runs are kept. Both stores speak `protocol.Store` and are held by one contract suite."""
