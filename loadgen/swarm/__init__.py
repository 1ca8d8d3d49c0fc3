"""Locust on the outside: a worker of ours for its master, and what its master needs of us. Never both in a process."""
