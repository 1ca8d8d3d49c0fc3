"""Frames and bodies: whatever the bytes, two readers agree, and only a fault of the peer may come of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
from fuzz_bytes import Bytes, joined
from fuzz_profiles import CODECS
from nmsp_samples import Received, receive
from wire_decoder import DecodeError, Decoder

from loadgen.errors import RemoteProtocolError
from loadgen.nmsp.bulk import NotifyReceiver
from loadgen.nmsp.catalogue import KIND_OF
from loadgen.nmsp.codec import Codec
from loadgen.nmsp.messages import Kind, MeasurementNotify, Message, Unsupported
from loadgen.nmsp.parts import Record, Section
from loadgen.nmsp.profile import Layout, WireProfile
from loadgen.nmsp.records import NO_MAC

_U64 = (1 << 64) - 1
_REFERENCE = 0  # the profile that tests/wire_decoder.py reads as well

# -- samples -----------------------------------------------------------------------------------------------------------


def sample(layout: Layout, records: int = 2) -> Message:
    """A message of a layout in which every field has a value that it can hold."""
    return _sample_of(layout, 1, records)


def _sample_of(part: Section, number: int, records: int) -> msgspec.Struct:
    fields: dict[str, Any] = _fill(part.struct, number)
    if (repeat := part.repeat) is not None:
        some = range(1, min(records, repeat.max) + 1)
        fields[repeat.name] = tuple(_sample_of(repeat.part, each, records) for each in some)
    return part.struct(**fields)


def _fill(struct: type[msgspec.Struct], number: int) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for field in msgspec.structs.fields(struct):
        if field.type is int:
            values[field.name] = 0 if field.name == "status" else number
        elif field.type is str:
            values[field.name] = f"n{number}"
        elif field.default in (msgspec.NODEFAULT, NO_MAC):
            values[field.name] = bytes((2, 0x53, 0, 0, 0, number))
    return values


def sample_frames(codec: Codec, records: int = 2) -> list[bytes]:
    """One frame of each kind that a profile has, in the order of kinds."""
    layouts = codec.profile.layouts
    return [codec.encode(sample(layouts[kind], records), 1) for kind in sorted(layouts)]


# -- framing -----------------------------------------------------------------------------------------------------------


def framing(data: bytes) -> None:
    """A stream is the same in one piece and in several, by the scanner and by the sweep, and to an independent reader.

    Data: profile, place in the buffer, number of pieces, their sizes, stream.
    """
    source = Bytes(data)
    number = source.below(len(CODECS))
    profile = CODECS[number].profile
    at = source.below(20)
    sizes = [source.below(1024) for _ in range(source.below(12))]
    stream = source.rest()
    pieces, position = [], 0
    for size in sizes:
        pieces.append(stream[position : position + size])
        position += size
    pieces.append(stream[position:])
    whole, parts = receive(profile, [stream], at), receive(profile, pieces)
    assert whole[:3] == parts[:3], (whole, parts)
    assert whole.fault is not None or (whole.tail == parts.tail and len(whole.tail) < profile.max_frame_bytes)
    assert whole.fault in (None, "garbage", "malformed", "oversized")
    _check_sweep(profile, pieces)
    if number == _REFERENCE:
        _check_witness(CODECS[number], whole, stream)


def _check_sweep(profile: WireProfile, chunks: list[bytes]) -> None:
    """A sweep takes exactly the chunks that the scanner finds to be nothing but notifications of one size."""
    receiver = NotifyReceiver(profile, sum(map(len, chunks)))
    starts, ends, position = [], [], 0
    for chunk in chunks:
        starts.append(position)
        position += len(chunk)
        ends.append(position)
        receiver.view[starts[-1] : position] = chunk
    rows: list[tuple[int, ...]] = []
    wanted = []
    for chunk in chunks:
        alone = NotifyReceiver(profile, len(chunk) + 1)
        alone.view[: len(chunk)] = chunk
        scanned = alone.scan_untrusted(0, len(chunk))
        plain = scanned == (len(chunk), scanned.notifications, None, None) and len(set(alone._sizes)) == 1
        wanted.append(scanned.notifications if plain else 0)
        if plain:
            rows += zip(*(column.tolist() for column in alone.columns()[:4]), strict=True)
    counts = receiver.sweep_untrusted(starts, ends, [True] * len(chunks))
    assert counts.tolist() == wanted
    assert receiver.notifications == len(rows)
    assert list(zip(*(column.tolist() for column in receiver.columns()[:4]), strict=True)) == rows


def _check_witness(codec: Codec, whole: Received, stream: bytes) -> None:
    """The decoder that was written from the documentation alone finds the same frames, and the same fault."""
    decoder, failed = Decoder(), False
    try:
        frames = decoder.feed(stream)
    except DecodeError as error:
        frames, failed = error.frames, True
    ours = _read(codec, whole)
    for frame in frames:
        msg_id, transaction, message = next(ours)
        if isinstance(message, tuple):  # a notification in bulk
            fields = frame["fields"]
            assert frame["message"] == Kind.MEASUREMENT_NOTIFY.label
            assert message == tuple(fields[name] for name in ("sequence", "due_ns", "sent_ns", "subservice"))
            continue
        if frame["message"] == Kind.UNSUPPORTED.label:
            assert (msg_id, transaction) == (frame["msg_id"], frame["transaction"])
            if message is None:  # we know what the witness does not, and it is malformed
                return
            continue
        assert message is not None, f"a fault where the witness has {frame}"
        assert (KIND_OF[type(message)].label, transaction) == (frame["message"], frame["transaction"])
        assert _plain(message, codec.profile) == frame["fields"]
    after = next(ours, None)
    assert (after is not None and after[2] is None) == failed, (after, failed)


def _read(codec: Codec, whole: Received) -> Iterator[tuple[int, int, Message | tuple[int, ...] | None]]:
    """Everything in a stream, in order, with id and transaction (of notifications: 0); no message: the fault at its
    end.
    """
    rows = iter(whole.rows)
    taken = 0
    for before, msg_id, transaction, body in whole.controls:
        for _ in range(before - taken):
            yield 0, 0, tuple(value & _U64 for value in next(rows))
        taken = before
        try:
            yield msg_id, transaction, codec.decode_untrusted(msg_id, memoryview(body))
        except RemoteProtocolError:
            yield msg_id, transaction, None
            return
    for row in rows:
        yield 0, 0, tuple(value & _U64 for value in row)
    if whole.fault is not None:
        yield 0, 0, None


def _plain(message: msgspec.Struct, profile: WireProfile) -> dict[str, Any]:
    """A message as the witness writes it: MAC addresses with colons, bytes as hex digits."""
    layout = profile.layouts[KIND_OF[type(message)]]
    fields = _plain_fields(message, layout.body)
    if "time" not in layout.body.times:  # the witness knows of no times but `due_ns` and `sent_ns`
        fields.pop("time", None)
    if (repeat := layout.repeat) is not None:
        fields[repeat.name] = [_plain_fields(record, repeat.record) for record in getattr(message, repeat.name)]
    return fields


def _plain_fields(struct: msgspec.Struct, record: Record) -> dict[str, Any]:
    values = {name: getattr(struct, name) for name in struct.__struct_fields__}
    return {
        name: (value.hex(":") if record.types.get(name) == "mac" else value.hex())
        if isinstance(value, bytes)
        else value
        for name, value in values.items()
    }


def framing_seeds() -> Iterator[bytes]:
    for number, codec in enumerate(CODECS):
        frames = sample_frames(codec)
        few = [codec.encode(sample(codec.profile.layouts[kind]), 7) for kind in Kind if kind < Kind.MEASUREMENT_NOTIFY]
        notify = codec.encode(sample(codec.profile.layouts[Kind.MEASUREMENT_NOTIFY], 1))
        yield joined(number, 0, 0, b"".join(few))
        yield joined(number, 3, 1, (20).to_bytes(2, "little"), b"".join(frames))
        yield joined(number, 0, 2, len(notify).to_bytes(2, "little") * 2, notify * 3)
        yield joined(number, 1, 1, (3 * len(notify)).to_bytes(2, "little"), notify * 20)
        yield joined(number, 0, 0, notify * 9 + few[0] + notify[:-1])


# -- bodies ------------------------------------------------------------------------------------------------------------


def bodies(data: bytes) -> None:
    """A body is malformed, or a message; that is encoded to what decodes to the same message.

    Data: profile, id (an index, or an unknown one), body.
    """
    source = Bytes(data)
    codec = CODECS[source.below(len(CODECS))]
    profile = codec.profile
    ids = list(profile.ids.values())
    index = source.byte()
    msg_id = ids[index] if index < len(ids) else source.number(2)
    body = source.rest()
    try:
        message = codec.decode_untrusted(msg_id, memoryview(body))
    except RemoteProtocolError as fault:
        assert fault.kind == "malformed"
        return
    kind = profile.kinds.get(msg_id, Kind.UNSUPPORTED)
    assert KIND_OF[type(message)] is kind
    hash(message)
    if kind is Kind.UNSUPPORTED:
        assert message == Unsupported(msg_id)
        return
    # Bytes that are no UTF-8 become longer, and so a text may be cut off when it is encoded: once, and not again.
    frame = codec.encode(message, 1)
    again = codec.decode_untrusted(msg_id, memoryview(frame)[profile.header.size :])
    assert again == message or "\ufffd" in repr(message), (message, again)
    assert codec.encode(again, 1) == frame
    assert len(frame) <= profile.max_frame_bytes
    found = receive(profile, [frame])
    assert (found.fault, found.tail) == (None, b"")
    if isinstance(message, MeasurementNotify):
        values = (message.sequence, message.due_ns, message.sent_ns, message.subservice)
        assert [tuple(value & _U64 for value in row) for row in found.rows] == [tuple(v & _U64 for v in values)]
    else:
        assert found.controls == [(0, msg_id, 1, frame[profile.header.size :])]


def bodies_seeds() -> Iterator[bytes]:
    for number, codec in enumerate(CODECS):
        kinds = list(codec.profile.ids)
        for index, kind in enumerate(kinds):
            for records in (0, 3):
                frame = codec.encode(sample(codec.profile.layouts[kind], records), 1)
                yield joined(number, index, frame[codec.profile.header.size :])
        yield joined(number, len(kinds), 0x42, 0x42, b"anything")
