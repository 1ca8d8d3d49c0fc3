"""Before a run: what it needs, made and checked. Free of trio and OpenSSL.

`job` makes a plan, keys and a number of workers of a scenario, and refuses what cannot be, by `keys` (made for the
run, or read from files), `limits` (descriptors, local ports, memory), `forecast` with `costs` (what the plan asks of
the target and of this machine), `machine` (/proc and the control group), `addresses` (of somebody else's WLCs).
Whatever is wrong ends here, with exit code 2 and nothing written.

A WLC's identity is signed by an authority made for the run, so both directions of a tunnel are verified. The
authority's private key never leaves the supervisor.
"""
