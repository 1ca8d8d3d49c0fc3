"""Bytes to and from the network. Knows nothing of NMSP. Every failure is a kind.

`address` (hosts, ports and zones as sockets have them), `tls` (a non-blocking tunnel), `dtls` (associations by
`trio.DTLSEndpoint`), `datagram_tunnel` (one association without trio, for a check), `contexts` (what each side shows,
offers and demands), `waiting` (what is to be read next, and since when), `suites` (versions and ciphers), `tickets`,
`sslv2` (hellos in its format), `verifying` (a client's certificate: the check gets tunnel and certificate, and its
ruling stays with the tunnel; the alert that refuses it), `ours` (whether OpenSSL takes what we show), `patient` (a
server's tunnel whose answer waits), `tcp_info` (what the kernel counts of a connection), `trace` (what happens inside
of a handshake, as events that an observer is told), `key_log` (the secrets of tunnels, for Wireshark), `parting` (who
was refused is heard out), `spoken` (OpenSSL's messages), `alerts` by number. `openssl` alone knows the insides of
pyOpenSSL, `trio_dtls` those of trio's DTLS.
"""
