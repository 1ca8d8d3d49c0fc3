"""Other names: one to one, as long as before, of the same kind, and alike where they were alike."""

from __future__ import annotations

import random
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.capture.anonymous import ListedNames, Pseudonyms

NAMES = Pseudonyms(b"a key that nobody knows")
macs = st.binary(min_size=6, max_size=6)


@given(macs)
def test_a_mac_keeps_its_two_bits(mac: bytes) -> None:
    other = NAMES.mac(mac)
    assert len(other) == 6
    assert other[0] & 3 == mac[0] & 3
    assert NAMES.mac(mac) == other == Pseudonyms(b"a key that nobody knows").mac(mac)


def test_macs_are_mapped_one_to_one_and_an_oui_to_an_oui() -> None:
    ouis = [bytes([first, 2, 3]) for first in (0x00, 0x01, 0x02, 0x10)]
    found = {oui: [NAMES.mac(oui + number.to_bytes(3, "big")) for number in range(3000)] for oui in ouis}
    assert len({mac for each in found.values() for mac in each}) == 12_000
    assert [len({mac[:3] for mac in each}) for each in found.values()] == [1, 1, 1, 1]
    assert len({each[0][:3] for each in found.values()}) == 4
    assert NAMES.mac(bytes(6)) == bytes(6)
    assert NAMES.mac(b"\xff" * 6) == b"\xff" * 6


def test_all_ouis_of_a_kind_are_mapped_one_to_one() -> None:
    """Every number of a Feistel network that is small enough to count them all."""
    assert sorted(NAMES._permuted(number, 6, b"test") for number in range(1 << 12)) == list(range(1 << 12))


@pytest.mark.parametrize("size", [4, 16])
def test_addresses_share_the_prefixes_that_they_shared(size: int) -> None:
    rng = random.Random(1)
    some = [rng.randbytes(size) for _ in range(100)]
    some += [each[: rng.randrange(size)] + rng.randbytes(size) for each in some]
    some = [each[:size] for each in some]
    others = [NAMES.address(each) for each in some]
    for one, other in zip(some, others, strict=True):
        for one_more, other_more in zip(some, others, strict=True):
            assert common(one, one_more) == common(other, other_more)


def common(one: bytes, other: bytes) -> int:
    """Bits that two have in common at their beginnings."""
    return 8 * len(one) - (int.from_bytes(one, "big") ^ int.from_bytes(other, "big")).bit_length()


@pytest.mark.parametrize(
    "network",
    [
        *("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4"),
        *("0.0.0.0/32", "255.255.255.255/32", "127.0.0.1/32", "::/128", "::1/128", "fe80::/10", "ff00::/8", "fc00::/7"),
    ],
)
def test_what_an_address_is_for_stays(network: str) -> None:
    known, rng = ip_network(network), random.Random(2)
    for _ in range(30):
        inside = known.network_address + rng.randrange(known.num_addresses)
        assert ip_address(NAMES.address(inside.packed)) in known


def test_a_mapped_address_is_that_of_ipv4() -> None:
    packed = ip_address("192.0.2.7").packed
    assert NAMES.address(bytes(10) + b"\xff\xff" + packed) == bytes(10) + b"\xff\xff" + NAMES.address(packed)
    assert NAMES.address(packed) != packed


@given(st.text(max_size=20))
def test_a_text_keeps_its_length_and_its_kinds_of_characters(text: str) -> None:
    encoded = text.encode("utf-8", "surrogatepass")
    other = NAMES.text(encoded)
    assert len(other) == len(encoded)
    for one, found in zip(encoded, other, strict=True):
        if one < 0x80:
            assert (chr(found).isdigit(), chr(found).islower(), chr(found).isupper()) == (
                chr(one).isdigit(),
                chr(one).islower(),
                chr(one).isupper(),
            )
            assert found == one or chr(one).isalnum()


@given(st.lists(st.text(st.sampled_from("ab1-é漢"), max_size=4), max_size=40))
def test_texts_are_mapped_one_to_one(texts: list[str]) -> None:
    assert len({NAMES.text(text.encode()) for text in texts}) == len(set(texts))


@given(st.binary(max_size=40))
def test_any_bytes_are_taken_for_a_text(data: bytes) -> None:
    assert len(NAMES.text(data)) == len(data)


def test_another_key_makes_other_names() -> None:
    other = Pseudonyms(b"another")
    assert other.mac(b"\0\1\2\3\4\5") != NAMES.mac(b"\0\1\2\3\4\5")
    assert other.address(bytes([8, 8, 8, 8])) != NAMES.address(bytes([8, 8, 8, 8]))
    assert other.text(b"controller-seven") != NAMES.text(b"controller-seven")


MAC, ADDRESS = bytes.fromhex("0050569c3489"), ip_address("192.0.2.7")
LISTED = ListedNames([MAC], [ADDRESS], NAMES)


def test_what_is_listed_is_replaced_wherever_it_is() -> None:
    other = NAMES.mac(MAC)
    data = b"x" + MAC + ADDRESS.packed + b"00:50:56:9c:34:89 00-50-56-9C-34-89 0050.569c.3489 0050569C3489" + MAC[:5]
    done, rest, count = LISTED.replace(data, final=True)
    expected = [other.hex(":"), other.hex("-").upper(), other.hex(".", -2), other.hex().upper()]
    assert done == b"x" + other + NAMES.address(ADDRESS.packed) + " ".join(expected).encode() + MAC[:5]
    assert (rest, count) == (b"", 6)


@given(st.lists(st.sampled_from([MAC, ADDRESS.packed, MAC[:3], MAC.hex(":").encode(), b"", b"\xc0"]), max_size=8))
def test_what_spans_two_pieces_is_found(parts: list[bytes]) -> None:
    data = b"".join(parts)
    whole, _, count = LISTED.replace(data, final=True)
    done, rest, found = b"", b"", 0
    for byte in data:
        more, rest, new = LISTED.replace(rest + bytes([byte]), final=False)
        assert len(rest) < LISTED.longest
        done, found = done + more, found + new
    more, rest, new = LISTED.replace(rest, final=True)
    assert (done + more, rest, found + new) == (whole, b"", count)


def test_a_list_of_nothing_changes_nothing() -> None:
    assert ListedNames([], [], NAMES).replace(b"abc", final=True) == (b"abc", b"", 0)
