"""Puts the lines of a device's text together: users with their attribute lists, and server-auth-info
blocks."""

from __future__ import annotations

import re

import msgspec

from loadgen.errors import InputError, Problem
from loadgen.foreign import quoted
from loadgen.identity.authlist import AuthEntry
from loadgen.identity.device_lines import Attribute, AuthListLine, Field, FieldName, ListHead, Other, User, read_line
from loadgen.identity.keyhash import HashAlgorithm, KeyHashError, check_key_hash, describe_digits
from loadgen.identity.mac import EXPECTED_MAC, parse_mac

EXPECTED_TEXT = (
    "key hashes: IOS-XE users with attribute lists, AireOS auth-list lines, or what an MSE prints"
    " (show server-auth-info, cmxctl config authinfo get)"
)
NOTHING_FOUND = "none of them"

_CERTIFICATE_TYPES = ("SSC", "MIC", "LSC")  # self-signed, manufacturer installed, locally significant
_DIGITS: dict[HashAlgorithm, str] = {"sha1": "40 hex digits (SHA-1)", "sha256": "64 hex digits (SHA-256)"}


# That IOS-XE encrypts passwords there at all is not public; "7 0822455D0A16" is what it looks like elsewhere.
_ENCRYPTED = re.compile(r"([5-9])\s+\S{4,200}")


class _AttributeList(msgspec.Struct):
    line: int
    passwords: list[tuple[HashAlgorithm, str]] = []
    attributes: int = 0  # of any kind, also passwords that are no key hashes
    passwords_seen: int = 0
    named_by_user: bool = False


class DeviceReader:
    """Takes a text line by line and finally gives its entries, or every problem there was.

    At most one thing is open at a time: an attribute list (passwords belong to it) or a server-auth-info
    block. Users and lists may come in any order, so they are brought together at the end.
    """

    def __init__(self, source: str) -> None:
        self._source = source
        self._problems: list[tuple[int, Problem]] = []
        self._entries: list[tuple[int, AuthEntry]] = []
        self._users: list[tuple[int, User]] = []
        self._lists: dict[str, _AttributeList] = {}
        self._open_list: str | None = None
        self._block: dict[FieldName, tuple[int, str]] = {}
        # Lists that users have and that hold no password: a fault if there is nothing else in the text.
        self._without_password: list[Problem] = []

    def line(self, number: int, text: str) -> None:
        """Take the next line."""
        line = read_line(text)
        if line is Other.BLANK:
            return
        if not isinstance(line, Field):
            self._close_block()
        # A line that neither is an attribute nor stands below the list's head ends the list. Rather one list
        # too few (a password outside any list is refused) than a password given to the wrong one.
        if not isinstance(line, Attribute) and line is not Other.INDENTED:
            self._open_list = None
        match line:
            case Field():
                self._field(number, line)
            case User():
                self._users.append((number, line))
            case ListHead(name):
                self._open_list = name
                self._lists.setdefault(name, _AttributeList(number))  # one may be entered again and continued
            case Attribute():
                self._attribute(number, line)
            case AuthListLine():
                self._auth_list_line(number, line)

    def finish(self) -> tuple[AuthEntry, ...]:
        """The entries in the order of the text, each once.

        Raises:
            InputError: with all problems, in the order of the text.
        """
        self._close_block()
        self._join_users()
        self._check_lists()
        self._entries.sort(key=lambda found: found[0])
        entries = self._without_repetitions()
        if self._problems:
            self._problems.sort(key=lambda found: found[0])
            raise InputError([problem for _, problem in self._problems])
        if not entries:
            raise InputError(self._without_password or [Problem(self._source, EXPECTED_TEXT, NOTHING_FOUND)])
        return entries

    def _problem(self, number: int, expected: str, found: str) -> None:
        self._problems.append((number, Problem(self._where(number), expected, found)))

    def _where(self, number: int) -> str:
        return f"{self._source}: line {number}"

    def _field(self, number: int, field: Field) -> None:
        # The MAC is printed first, so that label begins a block; otherwise one without a MAC would take
        # over the MAC of the next. A label that was there already begins one as well.
        if field.name == "mac" or field.name in self._block:
            self._close_block()
        if field.name == "type" and not self._block:
            return  # on its own it is a line of some other output
        self._block[field.name] = (number, field.value)

    def _close_block(self) -> None:
        block, self._block = self._block, {}
        if not block:
            return
        first_line = next(iter(block.values()))[0]
        mac = None
        if "mac" in block:
            mac = self._mac(*block["mac"])
        else:
            self._problem(first_line, "a MAC Address in the server-auth-info block that begins here", "none")
        algorithms: tuple[HashAlgorithm, ...] = ("sha1", "sha256")
        hashes = [(algorithm, *block[algorithm]) for algorithm in algorithms if algorithm in block]
        if not hashes:
            self._problem(first_line, "a key hash in the server-auth-info block that begins here", "none")
        for algorithm, number, text in hashes:
            if self._key_hash(number, text, algorithm) and mac is not None:
                self._entry(number, mac, algorithm, text.lower())
        if "type" in block and block["type"][1].upper() not in _CERTIFICATE_TYPES:
            number, text = block["type"]
            self._problem(number, "the certificate type SSC, MIC or LSC", quoted(text))

    def _attribute(self, number: int, attribute: Attribute) -> None:
        if self._open_list is None:
            if attribute.name == "password":
                self._problem(number, "an aaa attribute list above this password", "none")
            return
        into = self._lists[self._open_list]
        into.attributes += 1
        if attribute.name == "password":
            into.passwords_seen += 1
            algorithm = self._key_hash(number, attribute.value)
            if algorithm:
                into.passwords.append((algorithm, attribute.value.lower()))

    def _auth_list_line(self, number: int, line: AuthListLine) -> None:
        mac = self._mac(number, line.mac)
        if self._key_hash(number, line.key_hash, line.algorithm) and mac is not None:
            self._entry(number, mac, line.algorithm, line.key_hash.lower())

    def _join_users(self) -> None:
        for number, user in self._users:
            attributes = self._lists.get(user.attribute_list)
            if attributes and attributes.attributes and not attributes.passwords_seen:
                # A person, or a client of MAC authentication (MAB, MAC filter) with a VLAN or an access list: none of
                # our business.
                attributes.named_by_user = True
                continue
            try:
                mac = parse_mac(user.name)
            except ValueError:
                mac = None
                self._problem(number, f"{EXPECTED_MAC} as user name", quoted(user.name))
            if attributes is None:
                expected = "the name of an aaa attribute list in the same text"
                self._problem(number, expected, quoted(user.attribute_list))
                continue
            attributes.named_by_user = True
            if mac is not None:
                for algorithm, digits in attributes.passwords:
                    self._entry(number, mac, algorithm, digits)

    def _check_lists(self) -> None:
        for name, attributes in self._lists.items():
            if attributes.passwords_seen:
                if not attributes.named_by_user:
                    expected = f"a username with the aaa attribute list {quoted(name)}"
                    self._problem(attributes.line, expected, "none")
                continue
            expected = f"an attribute type password in the attribute list {quoted(name)}"
            if not attributes.attributes:
                self._problem(attributes.line, expected, "none")
            elif attributes.named_by_user:
                self._without_password.append(Problem(self._where(attributes.line), expected, "other attributes only"))

    def _without_repetitions(self) -> tuple[AuthEntry, ...]:
        """Each (MAC, algorithm) once; two different hashes for it are a problem."""
        kept: dict[tuple[str, HashAlgorithm], AuthEntry] = {}
        for number, entry in self._entries:
            first = kept.setdefault((entry.mac, entry.algorithm), entry)
            if first.key_hash != entry.key_hash:
                expected = f"for {entry.mac} the key hash of {first.where}, {first.key_hash}"
                self._problem(number, expected, entry.key_hash)
        return tuple(kept.values())

    def _entry(self, number: int, mac: str, algorithm: HashAlgorithm, digits: str) -> None:
        self._entries.append((number, AuthEntry(mac, algorithm, digits, self._where(number))))

    def _mac(self, number: int, text: str) -> str | None:
        try:
            return parse_mac(text)
        except ValueError as error:
            self._problem(number, str(error), quoted(text))
            return None

    def _key_hash(self, number: int, text: str, wanted: HashAlgorithm | None = None) -> HashAlgorithm | None:
        """The algorithm of a printed key hash, None with one problem more if it is none or not the wanted
        one."""
        try:
            algorithm = check_key_hash(text)
        except KeyHashError as error:
            expected = _DIGITS[wanted] if wanted else error.expected
            if wanted is None and (encrypted := _ENCRYPTED.fullmatch(text)):
                self._problem(number, f"{expected} in clear", f"an encrypted password (type {encrypted[1]})")
            else:
                self._problem(number, expected, error.found)
            return None
        if wanted not in (None, algorithm):
            self._problem(number, _DIGITS[wanted], describe_digits(text))
            return None
        return algorithm
