"""One tunnel, looked at closely: which step fails, why that may be, and its handshake as a controller traces it.

`wlc_check` and `mse_check` (what `loadgen check` does, side by side with `settings`, which both share), `steps`,
`handshake` (how far it came), `link` (one link, by poll), `datagram_link` (over UDP), `carrier` (TCP or UDP), `hello`
(first bytes), `signatures` (who can sign with what), `listed` (key hashes against a list), `causes` (which fit) with
`cause` (a row), `cause_table` and `certificate_causes`, `contexts`, `text`; and the trace: `states` (of OpenSSL, then
and now), `field_trace`, `fleet_trace` (of running fleets).
"""
