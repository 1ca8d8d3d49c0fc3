"""Causes of a dead tunnel: what each is, what to look at, and by which clues it is recognised.

Weights: 10 proof, 7 to 9 the usual cause of just this, 4 to 6 worth looking at, 1 to 3 possible. Texts have places for
facts in braces.
"""

from __future__ import annotations

import msgspec

from loadgen.diagnosis.cause import Cause
from loadgen.diagnosis.certificate_causes import CERTIFICATES, LISTS

_WRONG_END = "NMSP is served by the WLC and called by the MSE; two of a kind never get a tunnel up"

NETWORK = (
    Cause(
        "name_unresolved",
        "the name {host} does not resolve",
        ("name servers of this machine; the spelling; or give an address",),
        {"reachable:unresolved": 10},
        "mse",
    ),
    Cause(
        "no_route",
        "there is no way to {host}: {detail}",
        ("`ip route get {host}` here; the gateway of the WLC's management interface",),
        {"reachable:unreachable": 10},
        "mse",
    ),
    Cause(
        "filtered",
        "a firewall drops packets to port {port}: nobody answers, not even with a refusal",
        (
            "access lists and firewalls between here and {host} for {carrier} {port}",
            "`ping {host}` answers all the same?",
        ),
        {"reachable:timeout": 8},
        "mse",
    ),
    Cause(
        "tls_only",
        "nobody answers datagrams at port {port} of {host}, and somebody takes TCP there: the WLC speaks TLS only",
        ("the same check with `--transport tls`; a firewall that lets TCP {port} through, and not UDP",),
        {"takes_tcp": 9},
        "mse",
        ("reachable", "tls"),
    ),
    Cause(
        "wrong_address",
        "{host} is not the WLC's management address, or the WLC is off",
        ("`show wireless interface summary` on the WLC",),
        {"reachable:timeout": 5, "tcp:refused": 3, "tls:refused": 3},
        "mse",
    ),
    Cause(
        "port_closed",
        "nothing listens at port {port} of {host}: NMSP is not enabled there, or it is another port",
        ("on the WLC: `nmsp enable`, `show nmsp status`; the port is 16113 unless it was changed",),
        {"tcp:refused": 8, "tls:refused": 8},
        "mse",
    ),
    Cause(
        "two_mses",
        "wrong role: {host} is an MSE as well, and " + _WRONG_END,
        ("which of the two is the controller; to check an MSE: `loadgen check mse --listen ...` and let it call",),
        {"peer_is_tls_client": 10, "peer_sslv2_hello": 10, "mse_message": 10, "tcp:refused": 4, "tls:refused": 4},
        "mse",
    ),
    Cause(
        "rejected",
        "a firewall refuses in the name of {host}",
        ("access lists and firewalls between here and {host} for {carrier} {port}",),
        {"tcp:refused": 2, "tcp:reset": 5, "tls:refused": 2},
        "mse",
    ),
    Cause(
        "nobody_calls",
        "no MSE calls this address: it was not told to, or has another one for this WLC",
        (
            "on the MSE or in Prime Infrastructure: is this WLC assigned, with the address {listen}, and synchronized",
            "on CMX: `cmxctl config controllers show`",
        ),
        {"reachable:timeout": 9},
        "wlc",
    ),
    Cause(
        "filtered_to_us",
        "a firewall keeps the MSE from port {port} of this machine",
        ("from the MSE's network: `nc -vz {listen_host} {port}`",),
        {"reachable:timeout": 7},
        "wlc",
    ),
    Cause(
        "two_wlcs",
        "wrong role: the other side is a WLC as well, and " + _WRONG_END,
        ("which of the two is the MSE; to check a WLC: `loadgen check wlc HOST`",),
        {"reachable:timeout": 4, "wlc_message": 10},
        "wlc",
    ),
)

TUNNEL = (
    Cause(
        "plain_http",
        "not NMSP: the other side speaks plain HTTP",
        ("port {port}: is it 16113, and not a web interface or a proxy's", "it sent {first_bytes}"),
        {"peer_http": 10, "tls:http_request": 10},
    ),
    Cause(
        "plain_ssh",
        "not NMSP: the other side speaks SSH",
        ("port {port}: is it 16113", "it sent {first_bytes}"),
        {"peer_ssh": 10},
    ),
    Cause(
        "not_tls",
        "not TLS: the other side sent something else",
        ("port {port}: is it 16113; a proxy in between that speaks first", "it sent {first_bytes}"),
        {"peer_not_tls": 9},
    ),
    Cause(
        "sslv2_hello",
        "the MSE begins with a hello in SSLv2 format, as Java 6 does by default; this OpenSSL (4) takes none",
        (
            "what it offers in it: {offer}",
            "at the MSE: a Java of 7 or later, or `-Djdk.tls.client.protocols=TLSv1` (Java 6 from update 121 on)",
        ),
        {"peer_sslv2_hello": 10, "tls:sslv2_hello": 10},
        "wlc",
    ),
    Cause(
        "signatures_not_ours",
        "the MSE takes no signature that the WLC's key makes: {their_signatures}, and the key is {our_key}",
        (
            "with `--identity FILE` this check shows a certificate of another key",
            "SHA-1 is signed with `--old-certificates`, SHA-1 and MD5 with `--strong-cipher off`",
        ),
        {
            "takes_other_signatures": 10,
            "tls:no_shared_signature_algorithms": 10,
            "tls:no_suitable_signature_algorithm": 10,
        },
        "wlc",
        ("tls",),
    ),
    Cause(
        "no_secure_renegotiation",
        "the WLC's TLS is from before 2010: it has no secure renegotiation (RFC 5746), which strong cipher wants",
        ("with `--strong-cipher off` (in a scenario `tls.strong_cipher = false`) it is met as it is",),
        {"tls:unsafe_legacy_renegotiation_disabled": 10},
        "mse",
    ),
    Cause(
        "no_version_of_its_own",
        "the MSE gave up before it said hello: every version of TLS that it speaks is switched off in it",
        ("at the MSE: which versions it allows (Java: `jdk.tls.client.protocols`, `jdk.tls.disabledAlgorithms`)",),
        {"peer_alert_first": 10},
        "wlc",
    ),
    Cause(
        "strong_cipher_mismatch",
        "strong cipher is on at one side and off at the other: no version or suite in common",
        (
            "on the WLC: `nmsp strong-cipher` (new connections only); `show running-config | include nmsp`",
            "we: strong cipher {our_strength}; the other side: {their_strength}",
            "with `--strong-cipher {other_strength}` this check tries the other way",
        ),
        {
            "other_strength_works": 10,
            "offers_weak_only": 10,
            "offers_strong_only": 10,
            "tls:alert_handshake_failure": 6,
            "tls:alert_protocol_version": 6,
            "tls:alert_insufficient_security": 6,
            "tls:no_shared_cipher": 6,
            "tls:unsupported_protocol": 6,
        },
    ),
    Cause(
        "wlc_certificate_outdated",
        "the WLC's certificate is by rules that OpenSSL does not take any more: {wlc_outdated}",
        (
            "certificate of the WLC:    {wlc_name}, valid from {wlc_from} until {wlc_until}",
            "`--old-certificates` takes it here, and `tls.old_certificates = true` in a scenario",
        ),
        {
            "tls:certificate_key_too_small": 10,
            "tls:certificate_signature_too_weak": 10,
            "tls:chain_key_too_small": 10,
        },
        "mse",
    ),
    Cause(
        "wlc_certificate_unusable",
        "the WLC's certificate does not hold: {detail}",
        (
            "certificate of the WLC:    {wlc_name}, valid from {wlc_from} until {wlc_until}",
            "our clock:                 {our_time}",
        ),
        {
            "tls:certificate_not_yet_valid": 10,
            "tls:certificate_expired": 10,
            "tls:certificate_dates_unreadable": 10,
            "tls:certificate_signature_wrong": 10,
            "tls:certificate_for_another_purpose": 10,
            "tls:certificate_extension_unknown": 10,
            "tls:chain_not_of_authorities": 10,
            "tls:chain_too_long": 10,
        },
        "mse",
    ),
    Cause(
        "wlc_not_trusted",
        "the WLC's certificate does not lead to the authority that we were told to trust",
        (
            "certificate of the WLC:    {wlc_name}, valid from {wlc_from} until {wlc_until}",
            "the file of --trust; the WLC's trustpoint: `show wireless management trustpoint`",
        ),
        {"tls:certificate_verify_failed": 9},
        "mse",
    ),
    Cause(
        "mse_refuses_wlc",
        "the MSE does not take the WLC's certificate: {alert}",
        ("what the MSE trusts; with `--identity FILE` this check shows the certificate of a WLC that it knows",),
        {
            "tls:alert_unknown_ca": 9,
            "tls:alert_bad_certificate": 9,
            "tls:alert_certificate_unknown": 9,
            "tls:alert_unsupported_certificate": 9,
            "tls:alert_certificate_expired": 9,
            "tls:alert_certificate_revoked": 9,
            "tls:alert_access_denied": 9,
            "tls:alert_decrypt_error": 9,
            # A suite has been agreed on when a certificate is shown. Erlang's alert is 40; BearSSL and s2n-tls, and
            # Node.js with TLS 1.3, have none.
            "certificate_unanswered&tls:alert_handshake_failure": 9,
            "certificate_unanswered&tls:alert_internal_error": 9,
            "certificate_unanswered&tls:closed": 9,
            "certificate_unanswered&tls:closed_without_notify": 9,
            "certificate_unanswered&tls:reset": 9,
        },
        "wlc",
    ),
    Cause(
        "silent_port",
        "something takes the connection and says nothing: a proxy or a hung process, not a working WLC",
        ("what listens there: `show tcp brief` on the WLC; a load balancer in between whose back end is down",),
        {"tls:timeout": 8},
        "mse",
    ),
    Cause(
        "silent_caller",
        "something connected and said nothing: a port scan or a health check, not an MSE",
        ("who is {peer}",),
        {"tls:timeout": 8, "silent_end": 8},
        "wlc",
    ),
    Cause(
        "flight_lost",
        "the WLC answers the first datagram, and its next flight, with its certificate, does not come",
        (
            "a path that drops large or fragmented datagrams: `ping -M do -s 1400 {host}`; a tunnel or VPN in between",
            "the same check with `--transport tls`, which TCP cuts to what the path carries",
        ),
        {"stopped_at_cookie&tls:timeout": 10},
        "mse",
    ),
    Cause(
        "cookie_not_returned",
        "the MSE sends a hello, and not the one with the WLC's cookie: our datagrams do not reach it, or it is no "
        "DTLS client",
        (
            "a firewall or NAT that lets UDP through in one direction only",
            "on the MSE: does `tcpdump udp port {port}` show what comes from here",
        ),
        {"stopped_at_cookie&tls:timeout": 10},
        "wlc",
    ),
    Cause(
        "closed_at_hello",
        "the other side hung up on our first TLS message without an alert",
        (
            "an access list or a limit of connections on the WLC: `show nmsp status` counts those it has",
            "port {port}: does it speak TLS at all",
        ),
        {"tls:closed": 8, "tls:closed_without_notify": 8, "tls:reset": 8},
    ),
)

# The other side has ended the connection, in a session or on the way to one.
_HUNG_UP = {
    f"{step}:{how}": 8
    for step in ("capability", "subscription", "notification", "echo")
    for how in ("closed", "closed_without_notify", "reset")
}

CONVERSATION = (
    Cause(
        "other_protocol",
        "what comes through the tunnel is not laid out as the wire profile says: {detail}",
        ("the profile (`--profile`): layouts are not public, and ours is no vendor's", "port {port}: is it NMSP's"),
        {
            "capability:garbage": 9,
            "capability:oversized": 8,
            "capability:malformed": 8,
            "subscription:malformed": 8,
            "notification:malformed": 8,
            "echo:malformed": 8,
        },
    ),
    Cause(
        "version_refused",
        "the two do not speak the same version of NMSP: {detail}",
        ("releases of MSE and WLC: the compatibility matrix",),
        {"capability:version_refused": 10},
    ),
    Cause(
        "silent_peer",
        "the tunnel is up and the other side says nothing in it",
        ("its NMSP process: `show nmsp status`, a restart of the service; or it has another wire profile",),
        {"capability:timeout": 8, "subscription:timeout": 6},
    ),
    Cause(
        "verdict_held_back",
        "with TLS 1.3 the tunnel is up here before the WLC has judged our certificate, and nothing says that it has",
        (
            "does the WLC list us: with `--auth-list FILE` a refusal is explained",
            "a longer `--timeout` hears a late refusal: s2n-tls, as it comes, waits with it for 10 to 30 s",
        ),
        {"certificate_unanswered&capability:timeout": 7},
        "mse",
    ),
    Cause(
        "wlc_hangs_up",
        "the WLC let us in and hung up: it is full, restarting, or did not like what we said or are",
        ("its log at this time; `show nmsp statistics`; the number of connections it allows",),
        {**_HUNG_UP, "certificate_unanswered&accepted:*": 4},
        "mse",
    ),
    Cause(
        "mse_hangs_up",
        "the MSE came to us and hung up: it is being stopped or restarted, waits for less time than we took, or did "
        "not like what we said or are",
        ("its log at this time; whether it is to keep this controller, or was only trying it out",),
        _HUNG_UP,
        "wlc",
    ),
    Cause(
        "out_of_order",
        "the other side broke the order of the exchange: {detail}",
        ("the wire profile's message ids; which release it runs",),
        {
            "capability:unexpected_message": 6,
            "subscription:unexpected_message": 6,
            "notification:unexpected_message": 6,
        },
    ),
    Cause(
        "nothing_granted",
        "nothing that was asked for is offered: asked for {asked}; offered are {offered}",
        (
            "services assigned to the MSE (Context Aware) in Prime Infrastructure, and their licences",
            "`show nmsp capability` on the WLC, `show nmsp subscription detail`",
        ),
        {"subscription:nothing_granted": 10},
    ),
    Cause(
        "nothing_to_tell",
        "the WLC lives and has nothing to tell: no station in range, or none that has moved enough",
        (
            "`show wireless client summary`; `nmsp notification interval`, and the RSSI threshold",
            "it answered our echo: the tunnel itself is sound",
        ),
        {"echo_answered": 9, "notification:timeout": 5},
        "mse",
    ),
    Cause(
        "wlc_stalled",
        "the WLC granted a subscription and is silent since, echo included",
        ("its load, and its NMSP process: `show nmsp statistics`, `show processes cpu`",),
        {"notification:timeout": 7, "echo:timeout": 3},
        "mse",
    ),
    Cause(
        "notifies_other",
        "the WLC notifies of {notified}, and granted {granted}: an MSE has no use for that",
        (
            "`show nmsp subscription detail` on the WLC: what it takes this MSE's subscription for",
            "`subservice` in the wire profile, and its number",
        ),
        {"notified_other&notification:timeout": 10},
        "mse",
    ),
    Cause(
        "mse_reads_nothing",
        "the MSE does not take what it is sent",
        ("its load; the window it offers: `ss -ti` here",),
        {"notification:timeout": 8},
        "wlc",
    ),
    Cause(
        "no_echo_answer",
        "the WLC does not answer echo requests: the MSE will count it as dead",
        ("`show nmsp status` there, columns Rx Echo Req and Tx Echo Resp", "echo ids in the wire profile"),
        {"echo:timeout": 8},
        "mse",
    ),
    Cause(
        "echo_unmatched",
        "the WLC answers echo requests under another transaction than theirs: no answer to an MSE, which will count "
        "the WLC as dead",
        ("`transaction` in the wire profile's header: an answer has that of its request",),
        {"echo_unmatched&echo:timeout": 10, "echo_unmatched&notification:timeout": 8},
        "mse",
    ),
    Cause(
        "no_echo_request",
        "the MSE sent no echo request in time: its interval is longer than --timeout, or it has stopped",
        ("its echo interval, 15 s by default; `--timeout` here",),
        {"echo:timeout": 8},
        "wlc",
    ),
)

# A list that is wrong, or a certificate's dates, say nothing about a port that is closed.
_OF_CERTIFICATES = ("asked", "accepted", "listed")

CAUSES = (
    *NETWORK,
    *TUNNEL,
    *(msgspec.structs.replace(cause, steps=_OF_CERTIFICATES) for cause in (*CERTIFICATES, *LISTS)),
    *CONVERSATION,
)
