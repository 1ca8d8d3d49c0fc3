"""Locust on the outside, on two sides that never share a process: `master` has gevent, `node` has trio. Free of both,
for either: `users` (what a user is), `arguments` (what a person chose), `messages` (ours, inside of Locust's), `rows`
(what Locust's tables are told).

    Locust master -- spawn: users, Orders --> node -> swarm -> squad -> supervisor -> worker processes
          ^                                    |
          +-- stats: rows, NodeReport <--------+          whole: Merger -> RunResult -> the same folder

A plan may have *users*, each with the next few of its sessions, mustered and dismissed while the load goes on
(`Supervisor.begin`, `muster`, `begin_stage`). Each owes from its own start, so the schedule is the same arithmetic as
ever: members that are not there are skipped. A worker prepares a squad for its share of the users; when more come,
because another worker went, it starts another squad, in processes of its own. A supervisor that leads a part of a run
keeps no intervals, but hands them on; their moments are counted from the epoch, and their numbers count from the whole
run's start. The master merges them with the same `Merger`, so percentiles over machines are exact.

A Locust worker leads worker processes of ours instead of making load itself: the load runs in the same processes as
that of `loadgen run`, so a heartbeat never waits for it; what leads is scheduled as a batch process, and reports every
3 s, as Locust's own workers do: with reports every second, p99 was a third higher than that of `loadgen run`.
"""
