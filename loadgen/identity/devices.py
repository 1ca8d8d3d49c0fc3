"""What devices print about who may connect, read and written: IOS-XE configuration, AireOS auth lists, and what an
MSE prints (show server-auth-info; of CMX, cmxctl's tables are read as well).

    username 0050569c3489 aaa attribute list NMSP                         MAC Address: 00:50:56:9c:34:89
    aaa attribute list NMSP                                               SHA1 Key Hash: <40 hex digits>
     attribute type password <key hash>                                   SHA2 Key Hash: <64 hex digits>
    aaa authorization credential-download wcm_loc_serv_cert local         Certificate Type: SSC

    (Cisco Controller) >config auth-list add sha256-lbs-ssc 00:50:56:9c:34:89 <64 hex digits>
    | SHA2 Key    | <64 hex digits> |                                     (cmxctl config authinfo get)

Source: Cisco's MSE and converged access (3850) troubleshooting document, whose Japanese edition prints both,
and prints the password with three digits missing and a blank inside. Who copies it gets "Authlist
authentication failed" on the controller and not a word about why; so everything suspicious is refused here,
with its line and its digits.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from loadgen.errors import InputError, Problem
from loadgen.files import read_bounded, without_mark
from loadgen.identity.authlist import AuthEntry, AuthList
from loadgen.identity.credentials import Identity
from loadgen.identity.device_reader import EXPECTED_TEXT, DeviceReader
from loadgen.identity.keyhash import HashAlgorithm, HashedBytes
from loadgen.identity.mac import bare_mac

MAX_TEXT_BYTES = 16 << 20

# The name in the document; what the controller looks up under it is not explained there.
CREDENTIAL_DOWNLOAD = "wcm_loc_serv_cert"


def load_auth_list(path: Path, over: HashedBytes) -> AuthList:
    """Read a file of device text as the auth list of a controller.

    Args:
        over: what the hashes in it cover; no device prints that.

    Raises:
        InputError: as `read_device_text`; or the file is missing, unreadable, empty, over 16 MiB or not
            UTF-8.
    """
    data = read_bounded(path, MAX_TEXT_BYTES, EXPECTED_TEXT)
    return AuthList(read_device_text(decode_device_text(data, str(path)), str(path)), over)


def decode_device_text(data: bytes, source: str) -> str:
    """UTF-8, with or without a byte order mark, or UTF-16 behind one.

    Raises:
        InputError: another encoding; says at which line.
    """
    try:
        return without_mark(data).decode("utf-8")
    except UnicodeDecodeError as error:
        number = data.count(b"\n", 0, error.start) + 1
        found = f"the byte 0x{data[error.start]:02x}, which does not belong there"
        raise InputError(Problem(f"{source}: line {number}", "text in UTF-8", found)) from error


def read_device_text(text: str, source: str) -> tuple[AuthEntry, ...]:
    """All key hashes in a text, in its order; a hash printed twice for one MAC counts once.

    The text may contain anything else: a whole configuration, a terminal capture with prompts, a document.
    Commands that take something back (`no username ...`) are not followed: give the configuration as it
    stands.

    Args:
        source: the name of the text; `where` of every entry and problem is "<source>: line <number>".

    Raises:
        InputError: with every problem of the text, in its order.
    """
    reader = DeviceReader(source)
    for number, line in enumerate(text.split("\n"), 1):  # not splitlines(): editors do not count form feeds
        reader.line(number, line)
    return reader.finish()


def ios_xe_config(entries: Iterable[AuthEntry]) -> str:
    """The configuration that makes an IOS-XE controller accept these entries.

    One attribute list for each MAC, named after it, so that pasting a second configuration adds to the first
    instead of changing it. With hashes of both algorithms for a MAC it is the SHA2 one: IOS-XE takes no
    other.
    """
    chosen: dict[str, AuthEntry] = {}
    for entry in entries:
        if entry.mac not in chosen or entry.algorithm == "sha256":
            chosen[entry.mac] = entry
    lines = []
    for mac, entry in chosen.items():
        name = f"NMSP_{bare_mac(mac)}"
        lines.append(f"username {bare_mac(mac)} aaa attribute list {name}")
        lines.append(f"aaa attribute list {name}")
        lines.append(f" attribute type password {entry.key_hash}")
        lines.append("!")
    lines.append(f"aaa authorization credential-download {CREDENTIAL_DOWNLOAD} local")
    return "\n".join(lines) + "\n"


def aireos_config(entries: Iterable[AuthEntry]) -> str:
    """The commands that make an AireOS controller accept these entries, one for each hash; older releases take
    SHA-1 only."""
    kinds: dict[HashAlgorithm, str] = {"sha1": "lbs-ssc", "sha256": "sha256-lbs-ssc"}
    return "".join(f"config auth-list add {kinds[each.algorithm]} {each.mac} {each.key_hash}\n" for each in entries)


def server_auth_info(identity: Identity, over: HashedBytes = "spki") -> str:
    """What MSE `show server-auth-info` would print for an identity: SSC when it is self-signed, otherwise
    LSC."""
    return server_auth_blocks(AuthEntry.both(identity, over), "SSC" if identity.is_self_signed() else "LSC")


def server_auth_blocks(entries: Iterable[AuthEntry], certificate_type: str | None = None) -> str:
    """The same from entries alone, a block for each MAC; without a type, which an entry does not know, no
    such line."""
    by_mac: dict[str, dict[HashAlgorithm, str]] = {}
    for entry in entries:
        by_mac.setdefault(entry.mac, {})[entry.algorithm] = entry.key_hash
    blocks = []
    for mac, hashes in by_mac.items():
        lines = [f"MAC Address: {mac}"] if mac else []
        if "sha1" in hashes:
            lines.append(f"SHA1 Key Hash: {hashes['sha1']}")
        if "sha256" in hashes:
            lines.append(f"SHA2 Key Hash: {hashes['sha256']}")
        if certificate_type:
            lines.append(f"Certificate Type: {certificate_type}")
        blocks.append("\n".join(lines) + "\n")
    return "\n".join(blocks)
