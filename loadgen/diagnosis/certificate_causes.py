"""Causes that lie in certificates, in clocks, and in the controller's list."""

from __future__ import annotations

from loadgen.diagnosis.cause import Cause

_COMPARE_HASHES = (
    "on the MSE: `show server-auth-info` in cmdshell, line SHA2 Key Hash (or `cmxctl config authinfo get`)",
    "on the WLC: `show running-config | section attribute list`, the MSE's password; AireOS: `show auth-list`",
)
_BOTH_CLOCKS = (
    "our clock:                 {our_time}",
    "certificate of the MSE:    valid from {mse_from} until {mse_until}",
    "certificate of the WLC:    valid from {wlc_from} until {wlc_until}",
    "on both: `show clock`, `show ntp status`; the WLC's time must be the same as the MSE's, or ahead of it",
)
# Libraries have an alert for every date and signature; who says nothing has asked a list, behind their back.
_WITHOUT_A_WORD = {
    f"no_list&accepted:{kind}": 7 for kind in ("closed", "closed_without_notify", "reset", "record_layer_failure")
}

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
            "an identity with another key; SHA-1 is signed with `--old-certificates`, MD5 with `--strong-cipher off`",
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
        {"own_expired": 10, "accepted:certificate_expired": 10, "accepted:alert_certificate_expired": 7},
    ),
    Cause(
        "clock_behind",
        "the WLC's clock is behind the MSE's: to it, the MSE's certificate is not valid yet",
        _BOTH_CLOCKS,
        {
            "own_not_yet_valid": 10,
            "accepted:certificate_not_yet_valid": 10,
            # OpenSSL's for one that is not valid yet; Go's and NSS's for any that they do not know. A WLC whose own
            # certificate began later has had a clock that was past the beginning of the MSE's.
            "own_fresh&accepted:alert_bad_certificate": 8,
            "wlc_began_first&accepted:alert_bad_certificate": 8,
            "accepted:alert_bad_certificate": 4,
            "accepted:alert_certificate_expired": 5,
            "own_fresh&accepted:*": 6,
            "refused_by_peer&accepted:*": 4,
            "list_agrees": 6,
            "own_fresh&listed:*": 3,
            "no_list": 3,
        },
    ),
    Cause(
        "certificate_outdated",
        "the MSE's certificate is by rules that OpenSSL does not take any more: {mse_outdated}",
        (
            "certificate of the MSE:    {mse_name}, valid from {mse_from} until {mse_until}",
            "a controller of its time takes it: `--old-certificates` here, `tls.old_certificates = true` in a scenario",
        ),
        {
            "accepted:certificate_key_too_small": 10,
            "accepted:certificate_signature_too_weak": 10,
            "accepted:chain_key_too_small": 10,
            "own_outdated&refused_by_peer&accepted:*": 9,
        },
    ),
    Cause(
        "certificate_purpose",
        "the MSE's certificate, or one above it, is not made for what it is used for: {unfit}",
        (
            "certificate of the MSE:    {mse_name}, valid from {mse_from} until {mse_until}",
            "`openssl x509 -noout -text -in FILE`: basic constraints, key usage, extended key usage",
        ),
        {
            "accepted:certificate_for_another_purpose": 10,
            "accepted:certificate_extension_unknown": 10,
            "accepted:chain_not_of_authorities": 10,
            "accepted:chain_too_long": 10,
            # We are unfit by OpenSSL's rules, and OpenSSL has alerts of either step for that.
            "own_unfit&refused_by_peer&accepted:*": 9,
            "own_unfit&refused_by_peer&listed:*": 8,
        },
    ),
    Cause(
        "certificate_kind",
        "the WLC does not take certificates of this kind: {alert}",
        ("self-signed (SSC) where it wants a CA's (MIC, LSC), or the other way; key type and size",),
        {
            "accepted:alert_unsupported_certificate": 9,
            "accepted:alert_bad_certificate": 4,
            "accepted:alert_certificate_revoked": 9,
            "refused_by_peer&accepted:*": 3,
        },
        "mse",
    ),
    Cause(
        "certificate_malformed",
        "the MSE's certificate is damaged or of an unknown kind",
        ("`show server-auth-info` on the MSE; `openssl x509 -text` of what it has",),
        {
            "accepted:certificate_malformed": 10,
            "accepted:certificate_dates_unreadable": 10,
            "accepted:certificate_signature_wrong": 10,
            "own_malformed&refused_by_peer&accepted:*": 9,
        },
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
        {"not_listed": 9, "no_list": 5, **_WITHOUT_A_WORD},
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
