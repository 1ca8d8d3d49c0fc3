"""A Locust master of ours with as many nodes as nobody has machines for: their messages are made, not their sessions.

recording: what one real node says, of a load with every kind of histogram. made: what another node says, of that.
simulated: many of those, each with a connection of its own. master: what theirs takes for it, and how far it is behind.
hour: an hour of it without the waiting. case: the benchmark.
"""
