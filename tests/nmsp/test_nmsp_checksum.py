"""Checksums: published check values, each kind over each part that it may be over, and what a wrong one is."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nmsp_by_hand import BITS, checksum_by_hand
from nmsp_samples import REPEATABLE, core_document, read_frame
from thoroughness import examples

from loadgen.errors import RemoteProtocolError
from loadgen.nmsp.checksum import CHECKSUM_TYPES, CHECKSUM_WORDS, sum_of
from loadgen.nmsp.codec import Codec
from loadgen.nmsp.messages import Capability
from loadgen.nmsp.profile import WireProfile, profile_untrusted
from loadgen.nmsp.profile_document import ChecksumKind

Order = Literal["big", "little"]
# What "123456789" gives, by the RevEng catalogue of parametrised CRC algorithms.
CHECKS: dict[ChecksumKind, int] = {
    "crc-32": 0xCBF43926,
    "crc-16/ibm-3740": 0x29B1,
    "crc-16/xmodem": 0x31C3,
    "crc-16/kermit": 0x2189,
    "crc-16/ibm-sdlc": 0x906E,
}
OVERS = (["header"], ["body"], ["header", "body"], ["trailer"], ["body", "trailer"], ["header", "body", "trailer"])


@pytest.mark.parametrize("kind", CHECKS)
def test_check_values(kind: ChecksumKind) -> None:
    bits = BITS[CHECKSUM_TYPES[kind][0]]
    assert sum_of(kind, bits, "big")(memoryview(b"123456789")) == CHECKS[kind]
    assert checksum_by_hand(kind, bits, "big", b"123456789") == CHECKS[kind]


def test_the_internet_checksum_of_rfc_1071() -> None:
    """Section 3: the sum of 0001 f203 f4f5 f6f7 is ddf2. It is the same bytes in either order (section 2, B)."""
    words = bytes.fromhex("0001f203f4f5f6f7")
    assert sum_of("internet", 16, "big")(memoryview(words)) == 0xDDF2 ^ 0xFFFF == 0x220D
    assert sum_of("internet", 16, "little")(memoryview(words)).to_bytes(2, "little") == b"\x22\x0d"


@pytest.mark.parametrize(
    ("data", "seal"),
    [
        ("", "ffff"),
        ("0000", "ffff"),  # a sum of zero
        ("ffff", "0000"),  # and one of minus zero
        ("00", "ffff"),
        ("12", "edff"),  # a zero behind the last byte: 1200
        ("0001f2", "0dfe"),  # 0001 + f200
        ("ffff0001", "fffe"),  # a carry comes round
    ],
)
def test_the_internet_checksum_at_its_edges(data: str, seal: str) -> None:
    for order in ("big", "little"):
        found = sum_of("internet", 16, order)(memoryview(bytes.fromhex(data)))  # type: ignore[arg-type]
        assert found.to_bytes(2, order).hex() == seal  # type: ignore[arg-type]


def test_a_sum_is_what_its_field_holds_of_it() -> None:
    data = memoryview(b"\xff" * 1000)  # 255,000, which is 0x3E418
    assert [sum_of("sum", bits, "big")(data) for bits in (8, 16, 32)] == [0x18, 0xE418, 0x3E418]
    assert sum_of("sum", 32, "big")(memoryview(b"")) == 0


@given(data=st.binary(max_size=1200), order=st.sampled_from(("big", "little")))
@settings(REPEATABLE, max_examples=examples(300))
def test_any_bytes_give_what_bit_by_bit_gives(data: bytes, order: Order) -> None:
    for kind, types in CHECKSUM_TYPES.items():
        for field in types:
            found = sum_of(kind, BITS[field], order)(memoryview(data))
            assert found == checksum_by_hand(kind, BITS[field], order, data), kind


def test_each_is_told_in_words() -> None:
    assert set(CHECKSUM_WORDS) == set(CHECKSUM_TYPES) == {*CHECKS, "sum", "internet"}


# -- in a frame --------------------------------------------------------------------------------------------------------


def sealed(kind: ChecksumKind, field: str, over: list[str], where: str, order: Order) -> WireProfile:
    """The reference profile's needed messages, with a checksum behind two bytes of the header's end or of a trailer."""
    document: dict[str, Any] = core_document() | {"byte_order": order, "checksum": {"kind": kind, "over": over}}
    document["trailer"] = {"size": 3, "fields": [{"name": "end", "type": "u8", "offset": 0, "value": 0xEE}]}
    part = document["header"] if where == "header" else document["trailer"]
    part["fields"].append({"name": "checksum", "type": field, "offset": part["size"] + 1})
    part["size"] += 1 + BITS[field] // 8
    return profile_untrusted(document, "sealed")


@pytest.mark.parametrize("where", ["header", "trailer"])
@pytest.mark.parametrize("over", OVERS, ids="+".join)
@pytest.mark.parametrize("kind", CHECKSUM_TYPES)
def test_what_is_covered_and_what_is_not(kind: ChecksumKind, over: list[str], where: str) -> None:
    """Every byte of a frame, changed: one that is covered is a wrong checksum, another is none."""
    for field, order in ((f, o) for f in CHECKSUM_TYPES[kind] for o in ("big", "little")):
        profile = sealed(kind, field, over, where, order)  # type: ignore[arg-type]
        head, foot, width = profile.framing.head, profile.framing.foot, BITS[field] // 8
        message = Capability(0x0123456789ABCDEF)
        frame = Codec(profile).encode(message, 7)
        at = 13 if where == "header" else head + 8 + 4
        blank = frame[:at] + bytes(width) + frame[at + width :]
        parts = {"header": blank[:head], "body": blank[head:-foot], "trailer": blank[-foot:]}
        seal = checksum_by_hand(kind, BITS[field], order, b"".join(parts[name] for name in parts if name in over))
        assert frame == blank[:at] + seal.to_bytes(width, order) + blank[at + width :]
        assert read_frame(profile, frame) == (message, 7)
        begins = {"header": 0, "body": head, "trailer": head + 8}
        covered = {begins[name] + index for name in over for index in range(len(parts[name]))} | {
            *range(at, at + width)
        }
        for index in range(head, len(frame)):  # what is wrong with a header is looked at before
            changed = bytearray(frame)
            changed[index] ^= 0x40
            if index in covered:
                with pytest.raises(RemoteProtocolError) as fault:
                    read_frame(profile, bytes(changed))
                assert fault.value.kind == "checksum"
                assert "expected 0x" in str(fault.value)
            else:
                read_frame(profile, bytes(changed))


def test_a_message_that_is_not_known_has_to_be_right_too() -> None:
    profile = sealed("crc-32", "u32", ["header", "body"], "trailer", "big")
    frame = bytearray(Codec(profile).encode(Capability(1), 7))
    frame[2:4] = b"\xee\xee"
    with pytest.raises(RemoteProtocolError) as fault:
        read_frame(profile, bytes(frame))
    assert fault.value.kind == "checksum"
