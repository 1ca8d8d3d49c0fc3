"""Our side, under trio: `connection` (ZeroMQ), `node` (a worker that obeys a master), `swarm` and `squad` (its
users)."""
