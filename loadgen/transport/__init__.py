"""Bytes to and from the network. Knows nothing of NMSP."""
