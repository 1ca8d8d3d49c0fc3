"""What workers record while a run goes on: `recorder` (one per driver), merged by whoever leads.

`histogram` (the only importer of `hdrh`), `encoded` (histograms as they travel, read many at once), `clocks` (how far
other machines' are ahead), by `leasts` (the fastest notifications, as far as more than one read says so), `stamps`
(whether one was put back), `grain` (by what steps one goes on), `growth` (what only grew, and nobody has spoken for)
and `drift`, with `clock_readings` (what results have of them), `stages` (which stage a time belongs to),
`waits` (whether a backlog grew in it), `moments` (the pace of what has no schedule), `merge` (over the whole run),
`intervals` (of all workers together, let go of once whole), `hlog` (their file), `progress` (a run as it goes on),
`books` (which counters make which), `names` (every figure).

Counters are cumulative, histograms are per interval: a lost interval costs samples, not counts. A stage is a part of a
series' name ("hold/notify.latency"), from the recorder to the interval log, and decided by due time at both ends:
stages, warm-ups and the loads of a search are all the same thing. Notifications carry `sent_ns` beside `due_ns`:
otherwise `service` could not be computed at the receiver. `generator.lag` is beside `notify.lag` because a peer that
stops reading makes sends late: that is the peer's doing, and must not make the generator INVALID.
"""
