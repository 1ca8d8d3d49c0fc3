"""One tunnel, looked at closely: which of its steps fails, why that may be, and its handshake as a controller traces it."""
