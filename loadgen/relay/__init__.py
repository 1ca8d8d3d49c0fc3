"""A man in the middle of tunnels, with both identities: to MSEs a WLC, to the WLC an MSE. `loadgen record` is that.

`parties` (both identities, their contexts, and who a peer says it is), `session` (one MSE, and the tunnel to the WLC
for it), `loop` (all of them over one epoll set, and how they are ended), `setup` (from an MSE that was accepted to two
tunnels), `relay` (what is said is passed on), `witness` (who is told of it), `files` (of packets, their owner's alone,
up to a size, in turn), `recording` (a witness that fills them). What goes through is never looked at: nothing here
knows NMSP.
"""
