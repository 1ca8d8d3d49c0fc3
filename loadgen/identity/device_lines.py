"""What one line of a device's text says. Lines only: what they mean together is
`loadgen.identity.devices`."""

from __future__ import annotations

import re
import unicodedata
from enum import Enum
from typing import Literal, NamedTuple

from loadgen.identity.keyhash import HashAlgorithm

FieldName = Literal["mac", "sha1", "sha256", "type"]


class Field(NamedTuple):
    """A line of MSE `show server-auth-info`, "SHA1 Key Hash: e0af...", or a row of cmxctl's, "| SHA1 Key | ... |"."""

    name: FieldName
    value: str


class User(NamedTuple):
    """IOS-XE: username NAME ... aaa attribute list LIST."""

    name: str
    attribute_list: str


class ListHead(NamedTuple):
    """IOS-XE: aaa attribute list NAME."""

    name: str


class Attribute(NamedTuple):
    """IOS-XE: attribute type NAME VALUE, below the head of an attribute list. The value may contain
    blanks."""

    name: str
    value: str


class AuthListLine(NamedTuple):
    """AireOS: config auth-list add lbs-ssc MAC HASH, or a row of show auth-list."""

    algorithm: HashAlgorithm
    mac: str
    key_hash: str


class Other(Enum):
    """Lines without a meaning of their own, which still begin or end something."""

    BLANK = "blank"
    INDENTED = "indented"  # stays below the command above it, as a configuration prints submodes
    ELSE = "else"


Line = Field | User | ListHead | Attribute | AuthListLine | Other

# Labels without blanks and in one case. The Japanese ones are those of the document (whose MAC Address label
# is English) and that document's own word for "MAC address".
_FIELDS: dict[str, FieldName] = {
    "macaddress": "mac",
    "macアドレス": "mac",
    "sha1keyhash": "sha1",
    "sha1キーハッシュ": "sha1",
    "sha2keyhash": "sha256",  # SHA2 has 64 digits: 256 bits
    "sha2キーハッシュ": "sha256",
    # CMX: cmxctl config controllers show, cmxctl config authinfo get.
    "sha1key": "sha1",
    "sha2key": "sha256",
    "certificatetype": "type",
    "証明書の種類": "type",
}
_MAX_LABEL = 120  # the longest behind a heading that ran on; keeps the cost of a line independent of its length

_COLON = re.compile("[:\uff1a]")  # FF1A is the full-width colon of Japanese text

# `3850c(config)#`, `3850c(config-attr-list)#`, `cmd>`, `[root@robin ~]#`, `(Cisco Controller) >`. There is something
# before # so that a commented-out line stays one. Bounded, so that no line can make it slow.
_PROMPT = re.compile(r"\s{0,80}(?:\[[^\]]{1,80}\]|\([^)]{1,80}\) ?|[^\s#>]{1,80})[#>]")

# cmxctl draws tables.
_RULE = re.compile(r"\s*\+[-=+]{1,400}\+\s*")
_ROW = re.compile(r"\s*\|([^|]{1,80})\|([^|]{0,200})\|\s*")

# Types of AireOS' auth list, of which the others are those of access points; as commands and as rows name them.
_AUTH_LIST_TYPES: dict[str, HashAlgorithm] = {
    "lbs-ssc": "sha1",
    "sha256-lbs-ssc": "sha256",
    "lbs-ssc-sha256": "sha256",
}

# A type in front of a password: 0 is none.
_CLEAR_PASSWORD = re.compile(r"0\s+([0-9A-Fa-f]{40}|[0-9A-Fa-f]{64})")

# The pager leaves its question in a terminal capture, and the backspaces that wiped it from the screen.
_PAGER = re.compile(r"\s{0,80}-{1,8} ?More ?-{1,8}[\s\x08]*", re.IGNORECASE)


def read_line(line: str) -> Line:
    """Classify one line, with or without the prompt it was typed at. Never fails; cost is linear in its
    length."""
    pager = _PAGER.match(line)
    if pager:
        line = line[pager.end() :]
    if _RULE.fullmatch(line):
        return Other.BLANK
    prompt = _PROMPT.match(line)
    command = (line[prompt.end() :] if prompt else line).strip()
    if not command:
        return Other.ELSE if prompt else Other.BLANK
    if prompt and command.endswith("?"):
        return Other.INDENTED  # a question for help, which the device answered; it changes nothing
    known = _command(command) or _field(line)
    if known is not None:
        return known
    return Other.INDENTED if not prompt and line[0].isspace() else Other.ELSE


def _command(command: str) -> User | ListHead | Attribute | AuthListLine | None:
    words = command.split(maxsplit=3)
    match [word.lower() for word in words[:3]]:
        case ["username", _, _]:
            rest = command.split()[2:]
            lower = [word.lower() for word in rest]
            # Other words may stand between ("privilege 15"); without the attribute list it is a person's
            # account.
            for position in range(len(rest) - 2):
                if lower[position : position + 3] == ["aaa", "attribute", "list"]:
                    return User(words[1], rest[position + 3] if position + 3 < len(rest) else "")
            return None
        case ["aaa", "attribute", "list"] if len(words) > 3:
            return ListHead(words[3])
        case ["attribute", "type", _]:
            value = words[3] if len(words) > 3 else ""
            clear = _CLEAR_PASSWORD.fullmatch(value)
            return Attribute(words[2].lower(), clear[1] if clear else value)
        case ["config", "auth-list", "add"] if len(words) > 3:
            kind, *rest = words[3].split(maxsplit=2)
            return _auth_list_line(kind, *rest)
        case _ if len(words) == 3:
            return _auth_list_line(words[1], words[0], words[2])
        case _:
            return None


def _auth_list_line(kind: str, mac: str = "", key_hash: str = "") -> AuthListLine | None:
    algorithm = _AUTH_LIST_TYPES.get(kind.lower())
    return None if algorithm is None else AuthListLine(algorithm, mac, key_hash)


def _field(line: str) -> Field | None:
    row = _ROW.fullmatch(line)
    if row:
        return _labelled(row[1], row[2])
    colon = _COLON.search(line, 0, _MAX_LABEL)
    if colon is None:
        return None
    # Where the heading's line was lost, the heading is in front, between dashes.
    return _labelled(line[: colon.start()].rpartition("--")[2], line[colon.end() :])


def _labelled(text: str, value: str) -> Field | None:
    # NFKC: half-width katakana and full-width letters are the same label. Only the label: a full-width digit
    # in a hash would be a fault worth hearing of.
    label = unicodedata.normalize("NFKC", text)
    name = _FIELDS.get("".join(label.split()).lower())
    return None if name is None else Field(name, value.strip())
