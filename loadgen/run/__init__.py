"""The processes of a run: `supervisor` leads it, `fleet` has its workers, `worker` is one, `forkserver` starts them,
`heap` has their memory, `channel` is what they say to each other, `shared` what they have in memory. `silence` (of a
worker), `signals` (that end a run), `keeper` (ends what we started when we are killed), `answering` and `status_desk`
(what a worker and the supervisor answer to `loadgen status`).

1. The supervisor has the workers forked, from a process with everything imported. WLC workers listen and tell where;
   MSE workers dial those addresses at `mse.connect_per_s` until every session is up or has failed, and say so at once.
   Then all are asked what they have seen until now: the load begins with that, and not with the next interval.
2. Slot 0 of the schedule is due at one monotonic time that all workers are told. Every worker computes its own due
   times from the slot's index alone: WLC *w* belongs to worker *w* mod *N*, slot *i* to WLC *i* mod *W*.
3. Whatever ends a run, nobody is dialed any more from then on, and sessions that are being set up have two seconds to
   come up, or are withdrawn (`halt`), and requests that were sent as long as they have to be answered in time: what we
   end ourselves is nobody's failure. When the schedule is over, WLCs are told to close in order; MSEs read until then,
   so nothing that was sent is left in a pipe. `loadgen capacity` puts another load on instead, once what is under way
   has come (`Supervisor.load`, `settle`). With `load.kind = "handshake"` there is no dialing phase: the schedule's
   slots are handshakes of the sessions in turn, the MSE side leads, and WLCs end when it has.
4. The supervisor merges intervals as they come, so a worker that is killed costs its last second, and not the run. An
   interval that all workers have handed in goes to the disk at once, and `result.json` is replaced: a supervisor that
   is killed leaves all but the last second, too. Nothing of an interval is kept in memory: the timeline has at most
   1,200 rows, and makes one of two when there are more, with the exact percentiles of both.
5. Every worker says something every second. One of which nothing was heard for 30 s, and that used no CPU time either
   (stopped, frozen, hung), counts as dead and is killed, whatever the supervisor waits for just then (`silence`); so
   is one whose sessions get no further, that does not end its load, or does not hand in its result in time. The
   verdict names it. Time that passes while the supervisor itself is stopped counts for nobody.
6. Processes that a supervisor starts end with it, however it ends: workers notice that their stdin is closed, and a
   keeper, a small process beside it, ends whatever has not (a worker that was stopped, a target of `loadgen ab`).

`loadgen status` asks the supervisor over a socket, and the supervisor its workers over their channels.
"""
