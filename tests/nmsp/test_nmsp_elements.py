"""Elements as a hostile peer makes them: a message, or the one fault that is stated; and never more memory than it."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from itertools import permutations
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nmsp_samples import REPEATABLE, body_by_hand, outcome

from loadgen.errors import RemoteProtocolError
from loadgen.nmsp import messages as m
from loadgen.nmsp.codec import Codec
from loadgen.nmsp.messages import Kind, Message
from loadgen.nmsp.profile import WireProfile, reference_profile
from loadgen.nmsp.records import NO_MAC, ClientInfo, Reading, TagInfo

TAG = TagInfo(b"\2\0\0\0\0\1", tx_power=-3)
READING = Reading(b"\2\0\0\0\0\2", 1, 1, 1, -40, -41, 20, 3)
TAGS = m.TagInfoNotify(sequence=5, due_ns=6, sent_ns=7, subservice=10, records=(TAG,), payload=b"what it sent")
CLIENTS = m.ClientInfoNotify(
    sequence=5,
    due_ns=6,
    sent_ns=7,
    subservice=9,
    records=(ClientInfo(b"\2\0\0\0\0\3", ssid="x"), ClientInfo(b"\2\0\0\0\0\4")),
)
ASKED = m.MeasurementRequest(0, b"\2\0\0\0\0\5")
ANSWER = m.MeasurementResponse(0, 0, b"\2\0\0\0\0\5", (READING,) * 8)


class Made(NamedTuple):
    """How a message's elements look in a profile: widths of their heads, whether lengths count these, byte order."""

    type: int
    length: int
    counts_head: bool
    order: Any

    def element(self, number: int, value: bytes, length: int | None = None) -> bytes:
        """One; `length` may be wrong on purpose."""
        if length is None:
            length = len(value) + (self.type + self.length if self.counts_head else 0)
        return number.to_bytes(self.type, self.order) + length.to_bytes(self.length, self.order) + value


REFERENCE_TAGS = Made(2, 2, counts_head=False, order="big")
OTHER_TAGS = Made(4, 4, counts_head=False, order="little")
OTHER_CLIENTS = Made(1, 2, counts_head=True, order="little")
OTHER_ASKED = Made(2, 1, counts_head=False, order="little")
OTHER_ANSWER = Made(1, 1, counts_head=True, order="little")


def fixed_of(profile: WireProfile, message: Message) -> bytes:
    """The body up to its elements."""
    layout = profile.layouts[KIND_OF_SAMPLE[type(message)]]
    records = 0
    if layout.repeat is not None and layout.repeat.counter is not None:
        records = len(getattr(message, layout.repeat.name)) * layout.repeat.record.size
    return body_by_hand(profile, message)[: layout.body.size + records]


KIND_OF_SAMPLE = {
    m.TagInfoNotify: Kind.TAG_INFO_NOTIFY,
    m.ClientInfoNotify: Kind.CLIENT_INFO_NOTIFY,
    m.MeasurementRequest: Kind.MEASUREMENT_REQUEST,
    m.MeasurementResponse: Kind.MEASUREMENT_RESPONSE,
}


class Case(NamedTuple):
    """What follows the fixed part of a message; what is said of it, or None: then `meant` is read."""

    message: Message
    made: Made
    make: Callable[[Callable[..., bytes]], bytes]
    said: str | None
    meant: Message | None = None


U64 = bytes(range(1, 9))
CLIENT = b"\0x" + bytes(32) + b"\2\0\0\0\0\3"
NO_PAYLOAD = m.TagInfoNotify(sequence=5, due_ns=6, sent_ns=7, subservice=10, records=(TAG,))
# The others that a tag's notification of the second profile needs: due, sent, subservice.
REST = ((3, (6).to_bytes(8, "little")), (4, (7).to_bytes(8, "little")), (0xFFFFFFFF, b"\x0a"))


def rest(e: Callable[..., bytes]) -> bytes:
    return b"".join(e(number, value) for number, value in REST)


REFERENCE: dict[str, Case] = {
    "none at all": Case(NO_PAYLOAD, REFERENCE_TAGS, lambda e: b"", None, NO_PAYLOAD),
    "of no length": Case(NO_PAYLOAD, REFERENCE_TAGS, lambda e: e(1, b""), None, NO_PAYLOAD),
    "as long as may be": Case(
        TAGS,
        REFERENCE_TAGS,
        lambda e: e(1, bytes(500)),
        None,
        m.TagInfoNotify(sequence=5, due_ns=6, sent_ns=7, subservice=10, records=(TAG,), payload=bytes(500)),
    ),
    "one byte longer": Case(
        TAGS, REFERENCE_TAGS, lambda e: e(1, bytes(501)), "tag_info_notify of 500 bytes of payload, found 501"
    ),
    "one of an id that nobody knows": Case(
        TAGS, REFERENCE_TAGS, lambda e: e(0xFFFF, b"new") + e(1, b"what it sent") + e(0, b""), None, TAGS
    ),
    "several of it": Case(TAGS, REFERENCE_TAGS, lambda e: e(9, b"") * 5000 + e(1, b"what it sent"), None, TAGS),
    "one that comes twice": Case(
        TAGS,
        REFERENCE_TAGS,
        lambda e: e(1, b"a") + e(1, b"a"),
        "tag_info_notify of one element payload, found a second one",
    ),
    "twice, and empty": Case(TAGS, REFERENCE_TAGS, lambda e: e(1, b"") * 2, "one element payload, found a second one"),
    "one that goes on behind the end": Case(
        TAGS, REFERENCE_TAGS, lambda e: e(1, b"abc", 4), "tag_info_notify of an element of at most 3 bytes, found 4"
    ),
    "an unknown one that does": Case(
        TAGS, REFERENCE_TAGS, lambda e: e(7, b"", 0xFFFF), "an element of at most 0 bytes, found 65535"
    ),
    "half a head": Case(
        TAGS, REFERENCE_TAGS, lambda e: e(7, b"") + b"\0\1\0", "whole elements, found 3 bytes at the end"
    ),
}

OTHER: dict[str, Case] = {
    "in another order": Case(
        TAGS,
        OTHER_TAGS,
        lambda e: e(0xFFFFFFFF, b"\x0a") + e(0x10000, b"what it sent") + rest(e)[: 2 * 16],
        None,
        TAGS,
    ),
    "one that must be there, and is not": Case(
        TAGS, OTHER_TAGS, lambda e: rest(e)[16:], "tag_info_notify of an element due_ns, found none"
    ),
    "none at all": Case(TAGS, OTHER_TAGS, lambda e: b"", "an element due_ns, found none"),
    "a number of no length": Case(TAGS, OTHER_TAGS, lambda e: e(3, b"") + rest(e)[16:], "8 bytes of due_ns, found 0"),
    "a number that is too long": Case(TAGS, OTHER_TAGS, lambda e: e(3, bytes(9)), "8 bytes of due_ns, found 9"),
    "a length of 4 GiB": Case(
        TAGS, OTHER_TAGS, lambda e: e(0x10000, b"abc", 0xFFFFFFFF), "an element of at most 3 bytes, found 4294967295"
    ),
    "a length of 4 GiB of an unknown one": Case(
        TAGS, OTHER_TAGS, lambda e: rest(e) + e(8, b"", 0xFFFFFFFF), "an element of at most 0 bytes, found 4294967295"
    ),
    "one that may be missing, and is": Case(
        ASKED, OTHER_ASKED, lambda e: e(1, b"\0\0"), None, m.MeasurementRequest(0, NO_MAC)
    ),
    "an address that is too short": Case(
        ASKED, OTHER_ASKED, lambda e: e(1, b"\0\0") + e(2, bytes(5)), "6 bytes of device_mac, found 5"
    ),
    "a length that counts its head, and is less": Case(
        CLIENTS, OTHER_CLIENTS, lambda e: e(9, b"", 2), "an element of at most 0 bytes, found -1"
    ),
    "a length of 0 that counts its head": Case(
        CLIENTS, OTHER_CLIENTS, lambda e: e(9, b"abc", 0), "an element of at most 3 bytes, found -3"
    ),
    "a record of no length": Case(
        CLIENTS, OTHER_CLIENTS, lambda e: e(200, b""), "at most 9 records of 40 bytes, found one more, of 0 bytes"
    ),
    "a record that is too short": Case(
        CLIENTS,
        OTHER_CLIENTS,
        lambda e: e(200, CLIENT[:-1]),
        "at most 9 records of 40 bytes, found one more, of 39 bytes",
    ),
    "a record that is too long": Case(
        CLIENTS, OTHER_CLIENTS, lambda e: e(200, CLIENT + b"x"), "9 records of 40 bytes, found one more, of 41 bytes"
    ),
    "one record too many": Case(
        CLIENTS,
        OTHER_CLIENTS,
        lambda e: e(200, CLIENT) * 10,
        "at most 9 records of 40 bytes, found one more, of 40 bytes",
    ),
    "a record, and nothing else": Case(
        CLIENTS, OTHER_CLIENTS, lambda e: e(200, CLIENT), "client_info_notify of an element subservice, found none"
    ),
}


@pytest.mark.parametrize("name", [*(f"reference: {n}" for n in REFERENCE), *(f"other: {n}" for n in OTHER)])
def test_what_a_body_is(name: str, other_profile: WireProfile) -> None:
    which, _, key = name.partition(": ")
    profile, case = (reference_profile(), REFERENCE[key]) if which == "reference" else (other_profile, OTHER[key])
    kind = KIND_OF_SAMPLE[type(case.message)]
    body = fixed_of(profile, case.message) + case.make(case.made.element)
    codec = Codec(profile)
    if case.said is None:
        assert codec.decode_untrusted(profile.ids[kind], memoryview(body)) == case.meant
        return
    with pytest.raises(RemoteProtocolError) as refusal:
        codec.decode_untrusted(profile.ids[kind], memoryview(body))
    assert refusal.value.kind == "malformed"
    assert case.said in str(refusal.value)
    assert kind.label in str(refusal.value)


def test_elements_come_in_any_order(other_profile: WireProfile) -> None:
    codec, made = Codec(other_profile), OTHER_ANSWER
    whole = codec.encode(ANSWER)[other_profile.header.size :]
    assert whole == body_by_hand(other_profile, ANSWER)
    record = made.element(7, body_by_hand(other_profile, ANSWER)[6 + 2 : 6 + 2 + 21])
    parts = [record * 4, made.element(1, b"\0"), record * 4, made.element(2, b"\0\0")]
    for order in permutations(parts):
        body = whole[:6] + b"".join(order)
        assert sorted(body) == sorted(whole)
        assert codec.decode_untrusted(other_profile.ids[Kind.MEASUREMENT_RESPONSE], memoryview(body)) == ANSWER


@pytest.mark.parametrize("counter", range(256))
def test_a_count_that_its_body_does_not_hold(counter: int) -> None:
    """Counted records before elements: whatever the count, what is read stays within the body."""
    profile, codec = reference_profile(), Codec(reference_profile())
    msg_id = profile.ids[Kind.TAG_INFO_NOTIFY]
    tags = m.TagInfoNotify(sequence=1, due_ns=2, sent_ns=3, subservice=10, records=(TAG,) * 3)
    body = bytearray(body_by_hand(profile, tags))
    body[25] = counter
    if counter == 3:
        assert codec.decode_untrusted(msg_id, memoryview(body)) == tags
    elif counter > 3:
        expected = (
            f"expected tag_info_notify of at most 64 records that fill the body, found {counter} records in 71 bytes"
        )
        with pytest.raises(RemoteProtocolError, match=expected):
            codec.decode_untrusted(msg_id, memoryview(body))
    else:  # what was a record is read as elements
        assert outcome(codec, msg_id, memoryview(body)) in (Kind.TAG_INFO_NOTIFY, "malformed")


def test_a_count_may_be_negative_where_its_type_is_signed(other_profile: WireProfile) -> None:
    codec = Codec(other_profile)
    body = bytearray(body_by_hand(other_profile, TAGS))
    for count in (-1, -32768, 4, 32767):
        body[1:3] = count.to_bytes(2, "little", signed=True)
        with pytest.raises(RemoteProtocolError, match=f"at most 3 records that fill the body, found {count} records"):
            codec.decode_untrusted(other_profile.ids[Kind.TAG_INFO_NOTIFY], memoryview(body))


@given(data=st.data())
@REPEATABLE
def test_any_elements_are_a_message_or_malformed(other_profile: WireProfile, data: st.DataObject) -> None:
    """Mostly good heads, known ids and right sizes, so that it comes far; what passes is read as what it writes."""
    profile, message, made = data.draw(
        st.sampled_from(
            [
                (reference_profile(), TAGS, REFERENCE_TAGS),
                (other_profile, TAGS, OTHER_TAGS),
                (other_profile, CLIENTS, OTHER_CLIENTS),
                (other_profile, ASKED, OTHER_ASKED),
                (other_profile, ANSWER, OTHER_ANSWER),
            ]
        )
    )
    kind = KIND_OF_SAMPLE[type(message)]
    layout = profile.layouts[kind]
    assert layout.elements is not None
    known: dict[int, int] = {}
    for number, field in layout.elements.fields.items():
        value = layout.elements.values.get(field.name)
        known[number] = value.size if value is not None else (field.size or 0)
    if layout.repeat is not None and layout.repeat.id is not None:
        known[layout.repeat.id] = layout.repeat.record.size
    ids = st.sampled_from(sorted(known)) | st.integers(0, 2 ** (8 * made.type) - 1)
    body = bytearray(fixed_of(profile, message))
    for number in data.draw(st.lists(ids, max_size=8)):
        value = data.draw(st.binary(min_size=(size := known.get(number, 3)), max_size=size) | st.binary(max_size=9))
        length = data.draw(st.none() | st.none() | st.integers(0, 2 ** (8 * made.length) - 1))
        body += made.element(number, value, length)
    body = body[: len(body) - data.draw(st.sampled_from((0, 0, 0, 1, 2, 5)))]
    codec = Codec(profile)
    if outcome(codec, profile.ids[kind], memoryview(body)) == "malformed":
        return
    found = codec.decode_untrusted(profile.ids[kind], memoryview(body))
    frame = codec.encode(found)
    again = codec.decode_untrusted(profile.ids[kind], memoryview(frame)[profile.header.size :])
    assert codec.encode(again) == frame


@pytest.mark.parametrize("length", [0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF])
def test_a_claim_costs_no_memory(other_profile: WireProfile, length: int) -> None:
    """A body of some 100 bytes that claims to have up to 4 GiB."""
    codec, made = Codec(other_profile), OTHER_TAGS
    body = fixed_of(other_profile, TAGS) + rest(made.element) + made.element(0x10000, bytes(20), length)
    view, msg_id = memoryview(body), other_profile.ids[Kind.TAG_INFO_NOTIFY]
    assert outcome(codec, msg_id, view) == "malformed"  # whatever is made once is made
    tracemalloc.start()
    try:
        assert outcome(codec, msg_id, view) == "malformed"
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 16_384


def test_what_is_skipped_is_not_kept(other_profile: WireProfile) -> None:
    """The largest frame that the reference profile allows, of unknown elements: read without a copy of it."""
    profile, made = reference_profile(), REFERENCE_TAGS
    start = fixed_of(profile, NO_PAYLOAD)
    room = profile.max_frame_bytes - profile.header.size - len(start)
    for filling in (made.element(9, b"") * (room // 4), made.element(9, bytes(room - 4))):
        view, codec = memoryview(start + filling), Codec(profile)
        msg_id = profile.ids[Kind.TAG_INFO_NOTIFY]
        assert codec.decode_untrusted(msg_id, view) == NO_PAYLOAD
        tracemalloc.start()
        try:
            assert codec.decode_untrusted(msg_id, view) == NO_PAYLOAD
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < 16_384
