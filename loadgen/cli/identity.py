"""`loadgen identity`: make identities of simulated MSEs, and translate what devices print of real ones."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from loadgen.commands.output import say
from loadgen.errors import InputError, Problem
from loadgen.identity.mac import LAST_MAC, bare_mac, local_mac, mac_from_int, mac_to_int, parse_mac

if TYPE_CHECKING:  # cryptography takes its time to import; the subcommands do it themselves
    from loadgen.identity.authlist import AuthEntry
    from loadgen.identity.credentials import KeyType
    from loadgen.identity.keyhash import HashedBytes

COMBINED_NAME = "auth-list.ios-xe.txt"
COMBINED_AIREOS_NAME = "auth-list.aireos.txt"

_hash_over = click.option(
    "--hash-over",
    type=click.Choice(["spki", "public-key", "certificate"]),
    default="spki",
    show_default=True,
    help="What the key hash covers. Not public; compare with what your MSE prints.",
)


@click.group()
def identity() -> None:
    """Keys, certificates and key hashes of simulated devices."""


@identity.command(short_help="Make MSE identities, and what lets them in.")
@click.option("--mac", help="MAC address of the first MSE.  [default: a random, locally administered one]")
@click.option(
    "--count", type=click.IntRange(min=1), default=1, show_default=True, help="How many; their MACs count up."
)
@click.option(
    "--key", type=click.Choice(["p256", "rsa-2048"]), default="p256", show_default=True, help="Kind of key of each."
)
@click.option("--out", type=click.Path(path_type=Path), default=Path(), help="Directory.  [default: .]")
@click.option("--force", is_flag=True, help="Replace files that are there: keys that were in them are lost.")
@_hash_over
def new(mac: str | None, count: int, key: KeyType, out: Path, force: bool, hash_over: HashedBytes) -> None:
    """Make self-signed MSE identities and the configuration that lets them in.

    For each MSE: mse-MAC.pem (key and certificate, readable only by you), mse-MAC.ios-xe.txt and
    mse-MAC.aireos.txt for the controller, mse-MAC.server-auth-info.txt as the MSE itself would print it. With
    --count also one auth-list.ios-xe.txt and one auth-list.aireos.txt for all.
    """
    from datetime import UTC, datetime

    from loadgen.files import write_new
    from loadgen.identity.authlist import AuthEntry
    from loadgen.identity.credentials import new_key, save_identity, self_signed
    from loadgen.identity.devices import aireos_config, ios_xe_config, server_auth_info

    macs = _consecutive_macs(mac, count)
    combined = [out / COMBINED_NAME, out / COMBINED_AIREOS_NAME] if count > 1 else []
    # All refusals come before the first file: a directory with half of the identities is of use to nobody.
    _check_targets(out, [path for each in macs for path in _paths(out, each)] + combined, force=force)
    now = datetime.now(UTC)
    identities = [self_signed(each, new_key(key), now) for each in macs]
    listed = [AuthEntry.both(each, hash_over) for each in identities]

    def write(path: Path, text: str) -> None:
        write_new(path, text.encode(), mode=0o644, replace=force)
        say(f"wrote {path}")

    for each, entries in zip(identities, listed, strict=True):
        pem, ios_xe, aireos, auth_info = _paths(out, each.mac)
        save_identity(each, pem, replace=force)
        say(f"wrote {pem}")
        write(ios_xe, ios_xe_config(entries))
        write(aireos, aireos_config(entries))
        write(auth_info, server_auth_info(each, hash_over))
    everybody = [entry for entries in listed for entry in entries]
    if combined:
        write(combined[0], ios_xe_config(everybody))
        write(combined[1], aireos_config(everybody))
    _say_configurations(everybody)


@identity.command(short_help="Print the key hashes of FILE as an MSE would.")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--mac", help="MAC address of the MSE.  [default: the one that its certificate names]")
@_hash_over
def show(file: Path, mac: str | None, hash_over: HashedBytes) -> None:
    """Print the key hashes of FILE as an MSE would, and what lists it at an IOS-XE and at an AireOS controller.

    FILE is an identity or a certificate alone (PEM, DER or PKCS#12 without a password), or any text with what
    an MSE prints (show server-auth-info, cmxctl config authinfo get), IOS-XE configuration or AireOS auth-list
    lines in it; hashes in a text are what they are, so --hash-over and --mac are for certificates only.
    """
    from loadgen.files import read_bounded
    from loadgen.identity.devices import MAX_TEXT_BYTES, decode_device_text, read_device_text, server_auth_blocks
    from loadgen.identity.pem import is_pem_or_der

    # Read once: it may be a pipe.
    data = read_bounded(file, MAX_TEXT_BYTES, "an identity, a certificate, or a text printed by a device")
    if is_pem_or_der(data):
        _show_certificate(data, str(file), mac, hash_over)
        return
    if mac is not None:
        raise InputError(Problem("--mac", "an identity or a certificate, whose MSE it is the address of", "a text"))
    entries = read_device_text(decode_device_text(data, str(file)), str(file))
    say(server_auth_blocks(entries), nl=False)
    _say_configurations(entries)


def _show_certificate(data: bytes, source: str, given: str | None, hash_over: HashedBytes) -> None:
    """Of an identity, or of a certificate alone: its hash is all that is wanted, and that needs neither key nor MAC.
    What lists it at a controller needs one: `given`, or the certificate's own."""
    from loadgen.foreign import quoted
    from loadgen.identity.authlist import AuthEntry
    from loadgen.identity.devices import server_auth_blocks
    from loadgen.identity.pem import mac_of, parse_identity

    problems: list[Problem] = []
    certificates = parse_identity(data, source, problems, needs_key=False).certificates
    if problems:
        raise InputError(problems)
    certificate = certificates[0]
    mac = mac_of(certificate) if given is None else _mac(given)
    entries = AuthEntry.both_of(certificate, mac or "", hash_over)
    say(server_auth_blocks(entries, "SSC" if certificate.is_self_signed else "LSC"), nl=False)
    if mac is None:
        name = quoted(certificate.subject or "")
        say(f"\nno MAC address in its name, {name}: a controller lists it under that of its MSE; give it with --mac")
    else:
        _say_configurations(entries)


def _say_configurations(entries: Sequence[AuthEntry]) -> None:
    """What a controller must be told, of either kind."""
    from loadgen.identity.devices import aireos_config, ios_xe_config

    say()
    say(ios_xe_config(entries))
    say(aireos_config(entries), nl=False)


def _mac(text: str) -> str:
    try:
        return parse_mac(text)
    except ValueError as error:
        raise InputError(Problem("--mac", str(error), repr(text))) from error


def _consecutive_macs(first: str | None, count: int) -> list[str]:
    """`count` addresses from `first` (or a random one) on."""
    # Of a random one bit 23 is cleared: with any sensible count the addresses differ in their last digits only.
    random = mac_to_int(local_mac(secrets.randbits(48))) & ~0x80_0000
    start = random if first is None else mac_to_int(_mac(first))
    if start + count - 1 > LAST_MAC:
        expected = f"{count} MAC addresses from {mac_from_int(start)} on"
        raise InputError(Problem("--count", expected, f"only {LAST_MAC - start + 1}"))
    return [mac_from_int(start + offset) for offset in range(count)]


def _paths(out: Path, mac: str) -> tuple[Path, Path, Path, Path]:
    stem = f"mse-{bare_mac(mac)}"
    endings = ("pem", "ios-xe.txt", "aireos.txt", "server-auth-info.txt")
    pem, ios_xe, aireos, auth_info = (out / f"{stem}.{ending}" for ending in endings)
    return pem, ios_xe, aireos, auth_info


def _check_targets(out: Path, targets: list[Path], *, force: bool) -> None:
    """Make the directory if it is missing, refuse it if anything to be written is there."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(Problem("--out", "a directory", f"{out}: {error.strerror}")) from error
    # lexists-like: a dangling link is in the way as well.
    there = [] if force else [path for path in targets if path.exists() or path.is_symlink()]
    if there:
        more = f", and {len(there) - 1:,} more" if len(there) > 1 else ""
        expected = "no file there yet, or --force, with which the keys in it are lost"
        raise InputError(Problem(str(there[0]), expected, f"an existing file{more}"))
