"""One tunnel, looked at closely: which step fails, why that may be, and its handshake as a controller traces it."""
