"""What one line of a device's text says. Lines only: what they mean together is
`loadgen.identity.devices`."""

from __future__ import annotations

import re
import unicodedata
from enum import Enum
from typing import Literal, NamedTuple

FieldName = Literal["mac", "sha1", "sha256", "type"]


class Field(NamedTuple):
    """A line of MSE `show server-auth-info`: "SHA1 Key Hash: e0af..."."""

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


class Other(Enum):
    """Lines without a meaning of their own, which still begin or end something."""

    BLANK = "blank"
    INDENTED = "indented"  # stays below the command above it, as a configuration prints submodes
    ELSE = "else"


Line = Field | User | ListHead | Attribute | Other

# Labels without blanks and in one case. The Japanese ones are those of the document (whose MAC Address label
# is English) and that document's own word for "MAC address".
_FIELDS: dict[str, FieldName] = {
    "macaddress": "mac",
    "macアドレス": "mac",
    "sha1keyhash": "sha1",
    "sha1キーハッシュ": "sha1",
    "sha2keyhash": "sha256",  # SHA2 has 64 digits: 256 bits
    "sha2キーハッシュ": "sha256",
    "certificatetype": "type",
    "証明書の種類": "type",
}
_MAX_LABEL = 40  # the longest with generous blanks; keeps the cost of a line independent of its length

_COLON = re.compile("[:\uff1a]")  # FF1A is the full-width colon of Japanese text

# `3850c(config)#`, `3850c(config-attr-list)#`, `cmd>`, `[root@robin ~]#`. There is something before # so that
# a commented-out line stays one. Bounded, so that no line can make it slow.
_PROMPT = re.compile(r"\s{0,80}(?:\[[^\]]{1,80}\]|[^\s#>]{1,80})[#>]")

# The pager leaves its question in a terminal capture, and the backspaces that wiped it from the screen.
_PAGER = re.compile(r"\s{0,80}-{1,8} ?More ?-{1,8}[\s\x08]*", re.IGNORECASE)


def read_line(line: str) -> Line:
    """Classify one line, with or without the prompt it was typed at. Never fails; cost is linear in its
    length."""
    pager = _PAGER.match(line)
    if pager:
        line = line[pager.end() :]
    prompt = _PROMPT.match(line)
    command = (line[prompt.end() :] if prompt else line).strip()
    if not command:
        return Other.ELSE if prompt else Other.BLANK
    known = _command(command) or _field(line)
    if known is not None:
        return known
    return Other.INDENTED if not prompt and line[0].isspace() else Other.ELSE


def _command(command: str) -> User | ListHead | Attribute | None:
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
            return Attribute(words[2].lower(), words[3] if len(words) > 3 else "")
        case _:
            return None


def _field(line: str) -> Field | None:
    colon = _COLON.search(line, 0, _MAX_LABEL)
    if colon is None:
        return None
    # NFKC: half-width katakana and full-width letters are the same label. Only the label: a full-width digit
    # in a hash would be a fault worth hearing of.
    label = unicodedata.normalize("NFKC", line[: colon.start()])
    name = _FIELDS.get("".join(label.split()).lower())
    return None if name is None else Field(name, line[colon.end() :].strip())
