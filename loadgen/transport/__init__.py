"""Bytes to and from the network. Knows nothing of NMSP. Every failure is a kind.

`address` (hosts, ports and zones as sockets have them), `tls` (a non-blocking tunnel), `dtls` (associations by
`trio.DTLSEndpoint`), `datagram_tunnel` (one association without trio, for a check), `waiting` (what is to be read
next, and since when), `suites` (versions and ciphers), `tickets`, `sslv2` (hellos in its format), `verifying` (a
client's certificate, and the alert that refuses it), `ours` (whether OpenSSL takes what we show), `patient` (a
server's tunnel whose answer waits), `tcp_info` (what the kernel counts of a connection), `trace` (what happens inside
of a handshake, as events), `parting` (who was refused is heard out), `spoken` (OpenSSL's messages), `alerts` by
number.
"""
