"""What was captured on the wire, read back as streams: packets, TCP reassembly, decryption. Sans-I/O, and streaming.

From the file to the streams, a module a step; each takes what the one before gives:

- `events`: what the last step gives, with and without TLS: `Opened`, `Data`, `Hole`, `Closed` of conversations;
- `blocks`: what a pcapng file is made of;
- `packets`: packets of a file, pcap or pcapng, and the key logs inside;
- `network`, `fragments`: of packets the segments of TCP;
- `connections`, `directions`: of segments the events of connections;
- `reading`: all of it in one, from bytes to events; `tally`: what it met and left out;
- `writing`: the other way, plaintext of tunnels as a pcapng file, packet headers and all;
- `keylog`, `tls`: of what was encrypted the plaintext, as the same events; with `tls_suites` (by number and name),
  `tls_records` (opened), `tls_hello` (what was agreed on), `tls_direction` (its records are found again behind a hole),
  `tls_resumed` (secrets of sessions that go on), `tls_connection`, and `tls_undecrypted` (what could not be, and why);
- `anonymous`: other names for MACs, addresses and texts, one to one;
- `streams`: events collected: the bytes of each direction, when each came, and where bytes are missing.

Addresses are text, ports integers, times integer nanoseconds since the epoch, as the capture has them.
"""
