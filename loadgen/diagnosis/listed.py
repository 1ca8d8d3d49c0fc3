"""Key hashes of a controller's list against the one that an MSE has: is it there, and if not, what is wrong with it.

`identity.devices` refuses a list with anything suspicious in it. Here the suspicious is what is looked for, so this
reader takes whatever stands in the place of a key hash, and the comparison says what it is.
"""

from __future__ import annotations

import string
from collections.abc import Iterable, Mapping
from difflib import SequenceMatcher
from pathlib import Path
from typing import NamedTuple

from loadgen.errors import InputError, Problem
from loadgen.files import read_bounded
from loadgen.identity.any_certificate import AnyCertificate
from loadgen.identity.device_lines import Attribute, AuthListLine, Field, ListHead, Other, User, read_line
from loadgen.identity.device_reader import EXPECTED_TEXT, NOTHING_FOUND
from loadgen.identity.devices import MAX_TEXT_BYTES, decode_device_text
from loadgen.identity.keyhash import HEX_DIGITS, HashAlgorithm, HashedBytes, describe_digits, key_hash
from loadgen.identity.mac import parse_mac
from loadgen.identity.pem import mac_of

_OVER: tuple[HashedBytes, ...] = ("spki", "public-key", "certificate")
_ALGORITHMS: tuple[HashAlgorithm, ...] = ("sha256", "sha1")
# Two hashes of different keys share about a quarter of their digits in order; a copying error leaves nearly all.
_ALIKE = 0.8


class Listed(NamedTuple):
    """What a list has in the place of a key hash: `text` as it stands there, `mac` None if its user has none."""

    mac: str | None
    text: str
    where: str

    @property
    def digits(self) -> str:
        return "".join(self.text.split()).lower()


class ListVerdict(NamedTuple):
    """How a list and an MSE's key hash go together.

    Attributes:
        sign: what was found, a word of `causes`.
        entry: the entry that is meant, if one is.
        expected: the key hash that should stand there.
        comparison: lines that show both, with marks under what differs.
    """

    sign: str
    entry: Listed | None
    expected: str
    comparison: tuple[str, ...] = ()

    @property
    def agrees(self) -> bool:
        return self.sign == "list_agrees"


def read_listed(path: Path) -> tuple[Listed, ...]:
    """Everything in a file of device text that stands where a key hash belongs.

    Raises:
        InputError: the file is missing, unreadable, empty, over 16 MiB, not UTF-8, or nothing in it is an entry.
    """
    text = decode_device_text(read_bounded(path, MAX_TEXT_BYTES, EXPECTED_TEXT), str(path))
    found = listed_in(text, str(path))
    if not found:
        raise InputError(Problem(str(path), EXPECTED_TEXT, NOTHING_FOUND))
    return found


def listed_in(text: str, source: str) -> tuple[Listed, ...]:
    """The same of a text."""
    users: dict[str, list[str]] = {}
    passwords: list[tuple[str, str, str]] = []  # attribute list, value, where
    found: list[Listed] = []
    block_mac: str | None = None
    open_list = ""
    for number, each in enumerate(text.split("\n"), 1):
        where = f"{source}: line {number}"
        line = read_line(each)
        if not isinstance(line, Attribute) and line not in (Other.INDENTED, Other.BLANK):
            open_list = ""
        match line:
            case Field(name="mac", value=value):
                block_mac = _mac_or_none(value)
            case Field(name="sha1" | "sha256", value=value):
                found.append(Listed(block_mac, value, where))
            case User(name, attribute_list):
                users.setdefault(attribute_list, []).append(name)
            case ListHead(name):
                open_list = name
            case Attribute(name="password", value=value):
                passwords.append((open_list, value, where))
            case AuthListLine(mac=mac, key_hash=value):
                found.append(Listed(_mac_or_none(mac), value, where))
    for attribute_list, value, where in passwords:
        names = users.get(attribute_list) or [""]
        found.extend(Listed(_mac_or_none(name), value, where) for name in names)
    return tuple(found)


def judge(
    listed: Iterable[Listed], certificate: AnyCertificate, algorithm: HashAlgorithm, over: HashedBytes
) -> ListVerdict:
    """Find the MSE of a certificate in a controller's list, as a controller does that looks its MAC up.

    Args:
        algorithm, over: what the controller compares.
    """
    listed = tuple(listed)
    expected = key_hash(certificate, algorithm, over)
    mac = mac_of(certificate)
    ours = [entry for entry in listed if entry.mac == mac] if mac else list(listed)
    if mac is None or any(entry.digits == expected for entry in ours):
        for entry in ours:
            if entry.digits == expected:
                return ListVerdict("list_agrees", entry, expected)
    meanings = _meanings(certificate)
    for entry in ours:
        if (known := meanings.get(entry.digits)) is not None:
            return ListVerdict(_sign_of_meaning(known, algorithm), entry, expected, compare(expected, entry.text))
    elsewhere = [entry for entry in listed if entry.digits == expected]
    if elsewhere:
        return ListVerdict("wrong_mac", elsewhere[0], expected)
    nearest = max(ours or listed, key=lambda entry: likeness(expected, entry.digits), default=None)
    if nearest is None or (not ours and likeness(expected, nearest.digits) < _ALIKE):
        return ListVerdict("not_listed", None, expected)
    return ListVerdict(_sign_of_digits(expected, nearest), nearest, expected, compare(expected, nearest.text))


def likeness(expected: str, found: str) -> float:
    """1 for the same digits, about 0.25 for those of another key's hash."""
    return SequenceMatcher(None, expected, found, autojunk=False).ratio()


def compare(expected: str, found: str) -> tuple[str, ...]:
    """Both hashes below each other, and marks under what differs; missing digits are shown as dots."""
    if likeness(expected, found.lower()) < _ALIKE:
        return (f"of the MSE  {expected}", f"in the list {found}", f"            {describe_digits(found)}")
    above, below, marks = "", "", ""
    matcher = SequenceMatcher(None, expected, found.lower(), autojunk=False)
    for kind, a, a_end, b, b_end in matcher.get_opcodes():
        width = max(a_end - a, b_end - b)
        above += expected[a:a_end].ljust(width, ".")
        below += found[b:b_end].ljust(width, ".")
        marks += (" " if kind == "equal" else "^") * width
    return (
        f"of the MSE  {above}",
        f"in the list {below}",
        f"            {marks.rstrip()}",
        f"            in the list: {describe_digits(found)}",
    )


def _meanings(certificate: AnyCertificate) -> Mapping[str, tuple[HashAlgorithm, HashedBytes]]:
    """Every key hash that the certificate may have somewhere."""
    return {
        key_hash(certificate, algorithm, over): (algorithm, over)
        for over in reversed(_OVER)
        for algorithm in _ALGORITHMS
    }


def _sign_of_meaning(known: tuple[HashAlgorithm, HashedBytes], algorithm: HashAlgorithm) -> str:
    return f"{known[0]}_given" if known[0] != algorithm else "other_bytes"


def _sign_of_digits(expected: str, entry: Listed) -> str:
    digits = entry.digits
    if not all(character in string.hexdigits for character in digits):
        return "not_hex"
    if likeness(expected, digits) >= _ALIKE:
        return ("extra_digits", "mistyped", "missing_digits")[
            (len(digits) <= len(expected)) + (len(digits) < len(expected))
        ]
    for algorithm, size in HEX_DIGITS.items():
        if len(digits) == size:
            return "other_key" if size == len(expected) else f"{algorithm}_given"
    return "missing_digits" if len(digits) < len(expected) else "extra_digits"


def _mac_or_none(text: str) -> str | None:
    try:
        return parse_mac(text)
    except ValueError:
        return None
