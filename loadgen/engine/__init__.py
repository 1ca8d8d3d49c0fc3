"""trio: shards that drive many endpoints in one loop, worker processes around them, and the supervisor of all."""
