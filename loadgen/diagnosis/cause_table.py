"""Causes of a dead tunnel: what each is, what to look at, and by which clues it is recognised.

Weights: 10 proof, 7 to 9 the usual cause of just this, 4 to 6 worth looking at, 1 to 3 possible. Texts have places for
facts in braces.
"""

from __future__ import annotations

import msgspec

from loadgen.diagnosis.steps import Side


class Cause(msgspec.Struct, frozen=True):
    """A row of the table.

    plays: the side of ours that may see it, None: either; steps: the steps that it explains, none: any.
    """

    name: str
    says: str
    look_at: tuple[str, ...]
    clues: dict[str, int]
    plays: Side | None = None
    steps: tuple[str, ...] = ()


_COMPARE_HASHES = (
    "on the MSE: `show server-auth-info` in cmdshell, line SHA2 Key Hash (or `cmxctl config authinfo get`)",
    "on the WLC: `show running-config | section attribute list`, the password of the MSE's user",
)
_BOTH_CLOCKS = (
    "our clock:                 {our_time}",
    "certificate of the MSE:    valid from {mse_from} until {mse_until}",
    "certificate of the WLC:    valid from {wlc_from} until {wlc_until}",
    "on both: `show clock`, `show ntp status`; the WLC's time must be the same as the MSE's, or ahead of it",
)
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
        ("access lists and firewalls between here and {host} for TCP {port}", "`ping {host}` answers all the same?"),
        {"reachable:timeout": 8},
        "mse",
    ),
    Cause(
        "wrong_address",
        "{host} is not the WLC's management address, or the WLC is off",
        ("`show wireless interface summary` on the WLC",),
        {"reachable:timeout": 5, "tcp:refused": 3},
        "mse",
    ),
    Cause(
        "port_closed",
        "nothing listens at port {port} of {host}: NMSP is not enabled there, or it is another port",
        ("on the WLC: `nmsp enable`, `show nmsp status`; the port is 16113 unless it was changed",),
        {"tcp:refused": 8},
        "mse",
    ),
    Cause(
        "two_mses",
        "wrong role: {host} is an MSE as well, and " + _WRONG_END,
        ("which of the two is the controller; to check an MSE: `loadgen check mse --listen ...` and let it call",),
        {"peer_is_tls_client": 10, "peer_sslv2_hello": 10, "mse_message": 10, "tcp:refused": 4},
        "mse",
    ),
    Cause(
        "rejected",
        "a firewall refuses in the name of {host}",
        ("access lists and firewalls between here and {host} for TCP {port}",),
        {"tcp:refused": 2, "tcp:reset": 5},
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
            "SHA-1 and MD5 are signed with `--strong-cipher off` only",
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
        "wlc_not_trusted",
        "the WLC's certificate does not lead to the authority that we were told to trust",
        ("the file of --trust; the WLC's trustpoint: `show wireless management trustpoint`",),
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
        "closed_at_hello",
        "the other side hung up on our first TLS message without an alert",
        (
            "an access list or a limit of connections on the WLC: `show nmsp status` counts those it has",
            "port {port}: does it speak TLS at all",
        ),
        {"tls:closed": 8, "tls:closed_without_notify": 8, "tls:reset": 8},
    ),
)

CERTIFICATES = (
    Cause(
        "unauthenticated",
        "the WLC lets anybody in: it asked for no certificate",
        (
            "Catalyst IOS before 15.2(2)E1 did not authenticate; `aaa authorization credential-download` missing",
            "if that is meant: `--unauthenticated`",
        ),
        {"asked:not_asked": 9},
    ),
    Cause(
        "signatures_not_made",
        "our certificate was not shown: its key, {our_key}, makes no signature that the WLC asks for",
        (
            "it asks for {asked_signatures}",
            "an identity with another key; SHA-1 and MD5 are signed with `--strong-cipher off` only",
        ),
        {"certificate_withheld": 10},
        "mse",
    ),
    Cause(
        "no_client_certificate",
        "the MSE showed no certificate: it is in unauthenticated mode, or has none with a key that signs as we ask",
        (
            "on the MSE: `config unauthenticated-nmsp false`, then restart it; `show server-auth-info`",
            "we ask for {asked_signatures}",
        ),
        {"accepted:peer_did_not_return_a_certificate": 10},
    ),
    Cause(
        "certificate_expired",
        "the MSE's certificate has expired",
        (*_BOTH_CLOCKS, "a new certificate has a new key hash, which the WLC must be told"),
        {"own_expired": 10, "accepted:certificate_expired": 9, "accepted:alert_certificate_expired": 7},
    ),
    Cause(
        "clock_behind",
        "the WLC's clock is behind the MSE's: to it, the MSE's certificate is not valid yet",
        _BOTH_CLOCKS,
        {
            "own_not_yet_valid": 10,
            "accepted:certificate_not_yet_valid": 9,
            "accepted:alert_bad_certificate": 8,
            "accepted:alert_certificate_expired": 5,
            "own_fresh": 6,
            "accepted:*": 4,
            "list_agrees": 6,
            "no_list": 3,
        },
    ),
    Cause(
        "certificate_kind",
        "the WLC does not take certificates of this kind: {alert}",
        ("self-signed (SSC) where it wants a CA's (MIC, LSC), or the other way; key type and size",),
        {
            "accepted:alert_unsupported_certificate": 9,
            "accepted:alert_bad_certificate": 6,
            "accepted:alert_certificate_revoked": 9,
            "accepted:*": 3,
        },
        "mse",
    ),
    Cause(
        "certificate_malformed",
        "the MSE's certificate is damaged or of an unknown kind",
        ("`show server-auth-info` on the MSE; `openssl x509 -text` of what it has",),
        {"accepted:certificate_malformed": 9, "accepted:certificate_dates_unreadable": 10},
    ),
)

LISTS = (
    Cause(
        "missing_digits",
        "the key hash in the list has digits missing",
        ("{comparison}", "{where}; the password of the printed example of this set-up has 61 of 64 digits as well"),
        {"missing_digits": 10},
    ),
    Cause(
        "extra_digits",
        "the key hash in the list has digits too many",
        ("{comparison}", "{where}"),
        {"extra_digits": 10},
    ),
    Cause(
        "mistyped",
        "the key hash in the list is mistyped",
        ("{comparison}", "{where}"),
        {"mistyped": 10, "not_hex": 9},
    ),
    Cause(
        "sha1_given",
        "the list has a SHA-1 key hash (40 digits) where SHA-256 (64 digits) is compared",
        ("{comparison}", "{where}; IOS-XE takes the MSE's `SHA2 Key Hash`"),
        {"sha1_given": 10},
    ),
    Cause(
        "sha256_given",
        "the list has a SHA-256 key hash (64 digits) where SHA-1 (40 digits) is compared",
        ("{comparison}", "{where}; older AireOS takes the MSE's `SHA1 Key Hash` in its lbs-ssc list"),
        {"sha256_given": 10},
    ),
    Cause(
        "wrong_mac",
        "the key hash is listed under another MAC: {listed_mac}, and the MSE's is {mac}",
        ("{where}; on IOS-XE the user name is the MSE's MAC without separators",),
        {"wrong_mac": 10},
    ),
    Cause(
        "other_bytes",
        "the key hash in the list covers other bytes of the same certificate",
        ("{comparison}", "{where}; `--hash-over` says what is compared, and `loadgen identity show` prints all"),
        {"other_bytes": 10},
    ),
    Cause(
        "other_key",
        "the key hash in the list is that of another key: the MSE was installed anew, or it is another MSE's",
        ("{comparison}", "{where}", *_COMPARE_HASHES),
        {"other_key": 9},
    ),
    Cause(
        "not_listed",
        "the list has no entry for this MSE, {mac}",
        ("its key hash is {key_hash}", "`loadgen identity show FILE` prints the configuration that lists it"),
        {"not_listed": 9, "no_list": 5},
    ),
    Cause(
        "wlc_has_another_list",
        "the file lists this MSE, and the WLC refuses it: the WLC has something else than the file",
        (*_COMPARE_HASHES, "its key hash is {key_hash}", "`aaa authorization credential-download wcm_loc_serv_cert`"),
        {"list_agrees": 8},
        "mse",
    ),
    Cause(
        "key_hash_differs",
        "the WLC has another key hash for this MSE: mistyped, too short, or SHA-1 instead of SHA-256",
        (*_COMPARE_HASHES, "its key hash is {key_hash}", "with `--auth-list FILE` both are compared digit by digit"),
        {"no_list": 4},
        "mse",
    ),
)

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
        "peer_hangs_up",
        "the other side let us in and hung up: it is full, restarting, or did not like what we said",
        ("its log at this time; `show nmsp statistics`; the number of connections it allows",),
        {
            "capability:closed": 8,
            "capability:closed_without_notify": 8,
            "capability:reset": 8,
            "subscription:closed": 8,
            "subscription:closed_without_notify": 8,
            "subscription:reset": 8,
            "notification:closed": 8,
            "notification:closed_without_notify": 8,
            "notification:reset": 8,
            "echo:closed": 8,
            "echo:closed_without_notify": 8,
            "echo:reset": 8,
        },
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
