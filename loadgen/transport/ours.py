"""Whether OpenSSL takes what we have to show, asked before anything begins."""

from __future__ import annotations

from OpenSSL import SSL, crypto

from loadgen.transport.contexts import client_context
from loadgen.transport.tls import kind_of_error
from loadgen.transport.verifying import certificates_of


def refusal_of_ours(key_pem: bytes, certificate_pem: bytes, chain_pem: bytes) -> str | None:
    """Why OpenSSL does not take a key, its certificate or the chain, whatever its security level; None if it does."""
    try:
        client_context(key_pem, certificate_pem, chain_pem, "1.2", None, old_certificates=True)
    except SSL.Error as error:
        return kind_of_error(error).replace("_", " ")
    except crypto.Error as error:
        return _reason(error)
    return None


def refusal_of_trust(trusted_pem: bytes) -> str | None:
    """Why OpenSSL does not take certificates to trust; None if it does."""
    try:
        certificates_of(trusted_pem)
    except crypto.Error as error:
        return _reason(error)
    return None


def _reason(error: crypto.Error) -> str:
    """OpenSSL's own words."""
    return str(error.args[0][-1][2]) if error.args and error.args[0] else "it is damaged"
