"""Both ends of a session, sans-I/O: bytes and time come in as arguments, bytes to send come out of `outbox`.

`link` (what both ends share) with `echoes` (that one end asks for), `wlc`, `mse`, `conversation` (what came is told to
an endpoint, frame by frame), `asking` (requests by schedule; `asking_again`: those of a capture) with `answers` (what
they give), `reception` (measurement notifications in bulk) with `told` (what a layout does not carry) and
`since_first` (how much longer something waited, by due times alone), `notices` (all
others, one by one) with `sequence` (lost, duplicated, reordered), `lulls` (streams that fall silent before the end of a
load), `placing` (which of a schedule the n-th is), `ledger` (what WLCs owe), `transmit` (a link's two queues),
`directory` (what a WLC answers from), `order` (what it tells where frames do not), `datagrams` (both ends, where
messages get lost).

Frames of the set-up take the same scanner as notifications: it stops behind each control frame, so the session's table
sees every message in order, and there is one reader for all bytes from the network.
"""
