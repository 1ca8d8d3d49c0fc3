"""`loadgen identity`: make identities of simulated MSEs, and translate what devices print of real ones."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import TYPE_CHECKING

import click

from loadgen.cli.output import say
from loadgen.errors import InputError, Problem
from loadgen.identity.mac import LAST_MAC, bare_mac, local_mac, mac_from_int, mac_to_int, parse_mac

if TYPE_CHECKING:  # cryptography takes its time to import; the subcommands do it themselves
    from loadgen.identity.authlist import AuthEntry
    from loadgen.identity.credentials import KeyType
    from loadgen.identity.keyhash import HashedBytes

COMBINED_NAME = "auth-list.ios-xe.txt"

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


@identity.command()
@click.option("--mac", help="MAC address of the first MSE.  [default: a random, locally administered one]")
@click.option(
    "--count", type=click.IntRange(min=1), default=1, show_default=True, help="How many; their MACs count up."
)
@click.option("--key", type=click.Choice(["p256", "rsa-2048"]), default="p256", show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=Path(), help="Directory.  [default: .]")
@_hash_over
def new(mac: str | None, count: int, key: KeyType, out: Path, hash_over: HashedBytes) -> None:
    """Make self-signed MSE identities and the configuration that lets them in.

    For each MSE: mse-MAC.pem (key and certificate, readable only by you), mse-MAC.ios-xe.txt for the
    controller, mse-MAC.server-auth-info.txt as the MSE itself would print it. With --count also one
    auth-list.ios-xe.txt for all.
    """
    from datetime import UTC, datetime

    from loadgen.files import write_new
    from loadgen.identity.authlist import AuthEntry
    from loadgen.identity.credentials import new_key, save_identity, self_signed
    from loadgen.identity.devices import ios_xe_config, server_auth_info

    macs = _consecutive_macs(mac, count)
    combined = out / COMBINED_NAME
    # All refusals come before the first file: a directory with half of the identities is of use to nobody.
    _check_targets(out, [path for each in macs for path in _paths(out, each)] + [combined] * (count > 1))
    now = datetime.now(UTC)
    identities = [self_signed(each, new_key(key), now) for each in macs]
    entries = [AuthEntry.of(each, "sha256", hash_over) for each in identities]

    for each, entry in zip(identities, entries, strict=True):
        pem, ios_xe, auth_info = _paths(out, each.mac)
        save_identity(each, pem)
        write_new(ios_xe, ios_xe_config([entry]).encode(), mode=0o644)
        write_new(auth_info, server_auth_info(each, hash_over).encode(), mode=0o644)
        for path in (pem, ios_xe, auth_info):
            say(f"wrote {path}")
    if count > 1:
        write_new(combined, ios_xe_config(entries).encode(), mode=0o644)
        say(f"wrote {combined}")
    say()
    say(ios_xe_config(entries), nl=False)


@identity.command()
@click.argument("file", type=click.Path(path_type=Path))
@_hash_over
def show(file: Path, hash_over: HashedBytes) -> None:
    """Print the key hashes of FILE as an MSE and as an IOS-XE controller would.

    FILE is an identity (PEM) or any text with show server-auth-info output or IOS-XE configuration in it;
    hashes in a text are what they are, so --hash-over only matters for an identity.
    """
    from loadgen.files import read_bounded
    from loadgen.identity.authlist import AuthEntry
    from loadgen.identity.credentials import read_identity
    from loadgen.identity.devices import (
        MAX_TEXT_BYTES,
        decode_device_text,
        ios_xe_config,
        read_device_text,
        server_auth_blocks,
        server_auth_info,
    )

    # Read once: it may be a pipe.
    data = read_bounded(file, MAX_TEXT_BYTES, "an identity (PEM) or a text printed by a device")
    entries: tuple[AuthEntry, ...]
    if b"-----BEGIN " in data:
        shown = read_identity(data, str(file))
        entries = (AuthEntry.of(shown, "sha256", hash_over),)
        auth_info = server_auth_info(shown, hash_over)
    else:
        entries = read_device_text(decode_device_text(data, str(file)), str(file))
        auth_info = server_auth_blocks(entries)
    say(auth_info)
    say(ios_xe_config(entries), nl=False)


def _consecutive_macs(first: str | None, count: int) -> list[str]:
    """`count` addresses from `first` (or a random one) on."""
    if first is None:
        # Bit 23 cleared: with any sensible count the addresses differ in their last digits only.
        start = mac_to_int(local_mac(secrets.randbits(48))) & ~0x80_0000
    else:
        try:
            start = mac_to_int(parse_mac(first))
        except ValueError as error:
            raise InputError(Problem("--mac", str(error), repr(first))) from error
    if start + count - 1 > LAST_MAC:
        expected = f"{count} MAC addresses from {mac_from_int(start)} on"
        raise InputError(Problem("--count", expected, f"only {LAST_MAC - start + 1}"))
    return [mac_from_int(start + offset) for offset in range(count)]


def _paths(out: Path, mac: str) -> tuple[Path, Path, Path]:
    stem = f"mse-{bare_mac(mac)}"
    return out / f"{stem}.pem", out / f"{stem}.ios-xe.txt", out / f"{stem}.server-auth-info.txt"


def _check_targets(out: Path, targets: list[Path]) -> None:
    """Make the directory if it is missing, refuse it if anything to be written is there."""
    from loadgen.files import already_there

    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(Problem("--out", "a directory", f"{out}: {error.strerror}")) from error
    # lexists-like: a dangling link is in the way as well.
    problems = [already_there(path) for path in targets if path.exists() or path.is_symlink()]
    if problems:
        raise InputError(problems)
