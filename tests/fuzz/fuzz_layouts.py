"""Layouts as devices have them: whatever the bytes, under whatever profile, only a fault of the peer comes of them."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
from fuzz_bytes import Bytes, joined
from fuzz_files import edited
from fuzz_wire import sample
from nmsp_samples import read_frame
from test_nmsp_any_bulk import by_codec, by_receiver

from loadgen.errors import InputError, RemoteProtocolError
from loadgen.nmsp.any_bulk import receiver_of
from loadgen.nmsp.catalogue import KIND_OF
from loadgen.nmsp.codec import Codec
from loadgen.nmsp.messages import Kind, Message
from loadgen.nmsp.parts import Section
from loadgen.nmsp.profile import WireProfile, profile_untrusted

_FOLDER = Path(__file__).parents[2] / "docs" / "wire-profile"
_NAMES = ("heron", "wren", "stork", "plover", "swift")
_FAULTS = ("malformed", "garbage", "oversized", "checksum")
_MOST_BYTES = 1 << 16  # of a frame that a target reads: larger ones say nothing more


@cache
def _documents() -> list[dict[str, Any]]:
    return [tomllib.loads((_FOLDER / f"{name}.toml").read_text("utf-8")) for name in _NAMES]


@cache
def _profiles() -> list[WireProfile]:
    return [profile_untrusted(document, "a layout of the fuzz targets") for document in _documents()]


def _profile(source: Bytes) -> WireProfile | None:
    """One of the five; or one of them with changes, if that is not refused."""
    number, changes = source.below(len(_NAMES)), source.take(source.below(24))
    if not changes:
        return _profiles()[number]
    try:
        return profile_untrusted(edited(_documents()[number], Bytes(changes)), "fuzz.toml")
    except InputError as error:
        assert error.problems
        return None


def _sealed(profile: WireProfile, frame: bytes, numbers: tuple[int, int] = (0, 0)) -> bytes:
    """A frame with its numbers in, and with the checksum that its bytes have."""
    sealed = bytearray(profile.framing.number(frame, *numbers) if profile.framing.numbers else frame)
    if profile.framing.checksum is not None:
        profile.framing.checksum.put(memoryview(sealed))
    return bytes(sealed)


def _records_in(part: Section, value: msgspec.Struct) -> None:
    """No more of anything than the profile lets be, at any depth."""
    if part.repeat is not None:
        records = getattr(value, part.repeat.name)
        assert len(records) <= part.repeat.max
        for record in records:
            _records_in(part.repeat.part, record)


def _check_again(codec: Codec, message: Message) -> None:
    """What was read is written so that it is read as the same; but for times, which go round, and for no UTF-8."""
    profile, kind = codec.profile, KIND_OF[type(message)]
    if kind is Kind.UNSUPPORTED or kind not in profile.layouts:
        return
    _records_in(profile.layouts[kind], message)
    frame = _sealed(profile, codec.encode(message, 1))
    again, _ = read_frame(profile, frame)
    if hasattr(message, "time"):
        message, again = (msgspec.structs.replace(each, time=0) for each in (message, again))
    assert again == message or "\ufffd" in repr(message), (message, again)


# -- one frame ---------------------------------------------------------------------------------------------------------


def layouts(data: bytes) -> None:
    """A frame of any message, in which some bytes are others: it is read, or it is a fault of the peer.

    Data: profile, changes to it, message, how many records, whether the checksum is made right again, changed bytes.
    """
    source = Bytes(data)
    profile = _profile(source)
    if profile is None:
        return
    codec, kinds = Codec(profile), sorted(profile.layouts)
    kind, records, seals = kinds[source.below(len(kinds))], source.below(4), source.below(2)
    good = _sealed(profile, codec.encode(sample(profile.layouts[kind], records), 1), (source.byte(), source.byte()))
    if len(good) > _MOST_BYTES:
        return
    assert KIND_OF[type(read_frame(profile, good)[0])] is kind
    frame = bytearray(good)
    while source:
        at, value = source.number(2) % (len(frame) + 8), source.byte()
        if at < len(frame):
            frame[at] = value
        else:  # longer by some bytes; what its length says is another matter
            frame += bytes([value]) * (at - len(frame) + 1)
    changed = _sealed(profile, bytes(frame)) if seals and len(frame) >= len(good) else bytes(frame)
    try:
        message, _ = read_frame(profile, changed)
    except RemoteProtocolError as fault:
        assert fault.kind in _FAULTS
        return
    _check_again(codec, message)


def layouts_seeds() -> Iterator[bytes]:
    for number, profile in enumerate(_profiles()):
        for index in range(len(profile.layouts)):
            yield joined(number, 0, index, 2, 1, 0, 0)
            yield joined(number, 0, index, 3, 0, 0, 0, 20, 0, 255)
        yield joined(number, 4, 1, 2, 0, 3, 0, 2, 1, 0, 0, 30, 0, 9)


# -- elements, and records within records ------------------------------------------------------------------------------


def nesting(data: bytes) -> None:
    """A body of nothing but the fuzzer's bytes, under any message id: malformed, or a message.

    Data: profile, changes to it, message, body.
    """
    source = Bytes(data)
    profile = _profile(source)
    if profile is None:
        return
    codec, kinds = Codec(profile), sorted(profile.layouts)
    kind = kinds[source.below(len(kinds))]
    try:
        message = codec.decode_untrusted(profile.ids[kind], memoryview(source.rest()))
    except RemoteProtocolError as fault:
        assert fault.kind == "malformed"
        return
    assert KIND_OF[type(message)] is kind
    _check_again(codec, message)


def nesting_seeds() -> Iterator[bytes]:
    for number, profile in enumerate(_profiles()):
        codec, framing = Codec(profile), profile.framing
        for index, kind in enumerate(sorted(profile.layouts)):
            for records in (0, 3):
                frame = codec.encode(sample(profile.layouts[kind], records), 1)
                yield joined(number, 0, index, frame[framing.head : len(frame) - framing.foot])


# -- many notifications ------------------------------------------------------------------------------------------------


def shapes(data: bytes) -> None:
    """A stream of notifications with changed bytes is the same to the codec, frame by frame, and to a receiver in bulk,
    whether it has seen frames like them before or not.

    Data: profile, how many frames, records in each, whether to seal them, whether to show them before, changed bytes.
    """
    source = Bytes(data)
    profile = _profiles()[source.below(3)]  # those that can be loaded
    codec, layout = Codec(profile), profile.layouts[Kind.MEASUREMENT_NOTIFY]
    counts = [source.below(4) for _ in range(1 + source.below(6))]
    frames = [bytearray(codec.encode(sample(layout, count), turn=turn)) for turn, count in enumerate(counts)]
    seals, shown = source.below(2), source.below(2)
    good = b"".join(frames)
    while source:
        frame = frames[source.below(len(frames))]
        frame[source.number(2) % len(frame)] = source.byte()
    stream = b"".join(_sealed(profile, bytes(frame)) if seals else bytes(frame) for frame in frames)
    receiver = receiver_of(profile, len(good) + 64)
    if shown:
        assert by_receiver(profile, receiver, good).fault is None
    expected = by_codec(profile, stream)
    for sweep in (False, True):
        assert by_receiver(profile, receiver, stream, sweep=sweep) == expected


def shapes_seeds() -> Iterator[bytes]:
    for number in range(3):
        yield joined(number, 5, 0, 1, 2, 3, 2, 1, 1, 1)
        yield joined(number, 2, 3, 3, 3, 1, 1, 1, 30, 0, 2)
