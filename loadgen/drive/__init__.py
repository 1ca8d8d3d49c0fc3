"""One worker's links: what is due is sent, what comes is read, and both are recorded.

`driver.Driver` is what a worker needs of whatever drives its endpoints: a `Shard` over TLS, or a `DtlsDriver`.

- All: `transport_drivers` (who drives a transport's endpoints), `equipment` (what a driver is given: plan, clock,
  recorder), `peers` (whom it has links to), `phase` (where a link stands), `presence` (which were there, and for how
  long), `term` (how long they are to stay), `redialing` (where nobody is yet), `under_way` (how many are set up at
  once), `dialing_from` (from which address each), `strangers` (who has yet to say something), `aaa` (auth lists in
  order, and who was let in, counted), `mse_sessions` (whom MSEs dial, what they record and ask, and how they leave),
  `wlc_sessions` (what WLCs record, and whom they owe notifications), `site_sessions` (what those with a site have to
  tell), `handshake_load` (which handshakes are due, where they are all that is wanted), `controllers` (the WLCs),
  `cpu_cost`, `pauses` (how long it stood still), `tracing` (which handshakes are traced).
- TLS: `loop` (epoll and timers), `links`, `leaving` (which are closed, some at a time), `tls` (`Shard`) with
  `happenings` (what it tells its subclasses), `tls_accept` and `tls_dial` (how links come about), `tls_serve` (what
  all WLCs with sessions do; `asides`: what of a tail that was not taken is notifications), `tls_wlc`, `tls_site`,
  `tls_replay` (what was recorded) and `tls_mse` (sessions, notifications, requests) on `tls_reading` and `tls_writing`
  (which links the native turn reads and writes, by `native_reading` and `native_writing`), `tls_handshakes` (both
  sides of handshake-only load), `ring_table` (the next frame of many WLCs), `reading` (how late it reads), `blind`
  (recorded bytes as they were, without endpoints), `segments` (what TCP sent again).
- DTLS: `dtls`, `dtls_accept` and `dtls_dial` (how associations come about), `dtls_serve`
  (what all WLCs with sessions do), `dtls_wlc`, `dtls_site`, `dtls_mse`, `dtls_handshakes`: the same over datagrams
  (docs/dtls.md).

## A shard

One trio task drives all links of a worker: one epoll set that trio waits on; while there is something to do, the task
turns without going through trio, for 4 ms at most (`Shard._stretch`). Every ready link is read in a row into **one**
receive buffer. What links brought that is nothing but notifications is swept: headers of all links are checked at
once, and all notifications become columns (`sequence`, `due`, `sent`) that are checked and recorded at once. Whatever
else there is, is scanned frame by frame, in place. Sending is the mirror image: a WLC's stations are laid out once as
finished frames in a ring (`NotifyRing`); what is due is patched in as columns and written from there, at most one TLS
record at a time. Where many links are owed one notification each, what is computed is computed for all of them at
once, and for each there is a stamp and a write. docs/performance.md has what all that costs.

That bound matters: when a socket is full, OpenSSL has already encrypted the whole record, so whole frames are either
sent or not begun, and the ring is free to be patched for the next link. The link is *blocked* until it is writable;
what becomes due meanwhile is owed (`session.ledger`), goes out late with its own due time, and is dropped after
`load.backlog`. What a full socket made late is the peer's until the link has caught up (`Ledger.behind`), not only for
the first writes after it.

Requests take the way of control frames: one message at a time in Python, because a session has few a second. What is
due follows from the schedule (`Asker`), all timeouts of a worker are in one heap, and a session has a table of
transactions only once it was asked something. A grant that changes is taken where its response stands in the stream:
notifications before it are judged by the old mask, those behind it by the new one (`Reception.regrant`).

The schedule's position, not a queue, says what is owed: `owed = due by now - done`. A link that is down or blocked
costs nothing while it is. A run may have many loads: a search for a rate's limit keeps its sessions, and a worker
restarts its ledger, not itself. Only what changes the fleet (sessions, stations) is a run of its own.

A driver counts nothing for `loadgen status` but connections and control messages: a link's notifications are read off
its ledger row, or off the sequence number that is expected next.

## Datagrams

A task for each association, which shakes hands and receives, and one that sends what is due on all of them, tick by
tick, runs timers, and takes what was received meanwhile at once. What its sessions do, a `DtlsDriver` has in common
with a `Shard` (`mse_sessions`, `wlc_sessions`, `site_sessions`, `handshake_load`), and the loop over what came
(`session.conversation`); what is its own is how a link becomes ready, is written, and closes. `session.datagrams` adds
to both ends what lost messages need, in front of the same state table.
"""
