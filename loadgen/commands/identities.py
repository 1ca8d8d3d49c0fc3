"""Identities that commands are given, read and found usable, and one for a WLC that was given none."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from pathlib import Path

from loadgen.errors import InputError
from loadgen.identity.credentials import Identity, load_identity, new_key, refused_certificates, self_signed
from loadgen.identity.mac import local_mac
from loadgen.prepare.keys import refused_by_openssl


def usable_identity(path: Path, *, allows_old: bool) -> Identity:
    """A key and its certificate, as OpenSSL takes them.

    Args:
        allows_old: small keys and SHA-1 will do.

    Raises:
        InputError: it cannot be read, or OpenSSL does not take it.
    """
    identity = load_identity(path)
    problems = list(refused_certificates(identity, str(path), allows_old=allows_old, remedy="--old-certificates"))
    problems += refused_by_openssl(identity, str(path))
    if problems:
        raise InputError(problems)
    return identity


def new_wlc() -> Identity:
    """RSA, because with strong cipher off the key exchange is static RSA."""
    return self_signed(local_mac(secrets.randbits(48)), new_key("rsa-2048"), datetime.now(UTC))
