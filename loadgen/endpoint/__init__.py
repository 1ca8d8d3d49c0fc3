"""What a WLC and an MSE do. Sans-I/O: bytes and time come in as arguments, bytes to send come out of `outbox`."""
