"""From streams to a layout that reads them."""

from __future__ import annotations

import fastcrc
from hypothesis import given, settings
from hypothesis import strategies as st
from infer_synthetic import Device, Part, captured, exchange_of, random_device

from loadgen.infer.inference import infer
from loadgen.infer.layout_reading import LayoutReader


def test_what_is_found_reads_the_frames_it_was_found_in() -> None:
    sessions = captured(random_device(100), seed=100)
    found = infer([session.exchange() for session in sessions])
    assert found.layout is not None
    reader = LayoutReader(found.layout)
    frames = [(of_client, data) for session in sessions for _, of_client, _, data in session.sent]
    read = [reader.read(data, of_client=of_client) for of_client, data in frames]
    assert all(one.message is not None for one in read)
    assert sum(one.fits for one in read) >= 0.95 * len(read)
    assert found.frames == len(frames)


def test_nothing_to_infer_from_is_said_so() -> None:
    found = infer([])
    assert found.layout is None
    assert found.why == "the capture has no bytes of any session"


@settings(deadline=None, max_examples=25)
@given(st.lists(st.binary(min_size=8, max_size=40), min_size=1, max_size=40), st.integers(0, 3), st.booleans())
def test_frames_of_any_bytes_end_with_a_layout_or_a_reason(bodies: list[bytes], kinds: int, answered: bool) -> None:
    """Lengths that are right, and nothing else that is."""
    frames = [bytes([len(body) + 2, number % (kinds + 1)]) + body for number, body in enumerate(bodies)]
    found = infer([exchange_of(b"".join(frames[:5] if answered else []), b"".join(frames))])
    assert (found.layout is None) == bool(found.why)


@settings(deadline=None, max_examples=25)
@given(st.binary(max_size=800), st.binary(max_size=800))
def test_streams_of_any_bytes_end_with_a_layout_or_a_reason(client: bytes, server: bytes) -> None:
    found = infer([exchange_of(client, server)])
    assert (found.layout is None) == bool(found.why)


def test_the_same_capture_gives_the_same_layout() -> None:
    exchanges = [session.exchange() for session in captured(random_device(101), seed=101)]
    assert infer(exchanges).layout == infer(exchanges).layout


def test_a_mark_behind_the_checksum_ends_every_frame() -> None:
    """A CRC of one byte, and 7e behind it."""
    parts = (Part("msg_id", 2, "msg_id"), Part("length", 2, "length"))
    ended = Device("big", parts, 0, 1, 2, lambda data: fastcrc.crc8.smbus(data) << 8 | 0x7E, random_device(3).ids)
    found = infer([session.exchange() for session in captured(ended)])
    assert found.layout is not None
    fields = [(each.at, each.size, each.role) for each in found.layout.trailer.fields]
    assert (found.layout.trailer.size, fields) == (2, [(0, 1, "checksum"), (1, 1, "constant")])
