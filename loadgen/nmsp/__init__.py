"""The protocol, sans-I/O: no socket, no clock, no log. Bytes and time come in as arguments."""
