"""The reference profile, written down from docs/wire-profile.md alone: frames, and how to take a stream apart."""

from __future__ import annotations

import struct
from typing import NamedTuple

MAGIC = 0x4E
HEADER = struct.Struct(">BBHII")  # magic, flags, msg_id, length, transaction
NOTIFY = struct.Struct(">QQQ6sBB")  # sequence, due_ns, sent_ns, station_mac, subservice, reading_count
READING = struct.Struct(">6sBBBbbbH")  # ap_mac, slot, band, source, rssi_a, rssi_b, snr, age_s
MAX_FRAME_BYTES = 65536

VERSION_REQUEST, VERSION_RESPONSE, CAPABILITY, SUBSCRIBE_REQUEST, SUBSCRIBE_RESPONSE = 1, 2, 3, 4, 5
ECHO_REQUEST, ECHO_RESPONSE, MEASUREMENT_NOTIFY = 6, 7, 16

VERSION = 1
RSSI_MS = 1 << 0

_NOTIFY_FRAME = struct.Struct(HEADER.format + NOTIFY.format[1:])
_STATION = b"\x02\x53\x00\x00\x00\x01"
_READING = READING.pack(b"\x02\x41\x00\x00\x00\x01", 0, 1, 1, -60, -61, 30, 1)


class Broken(Exception):
    """The other side sent what docs/wire-profile.md calls an error."""


class Frame(NamedTuple):
    """One frame, taken apart."""

    msg_id: int
    transaction: int
    body: bytes


def frame(msg_id: int, body: bytes = b"", transaction: int = 0) -> bytes:
    """A whole frame."""
    return HEADER.pack(MAGIC, 0, msg_id, HEADER.size + len(body), transaction) + body


def version_request(transaction: int) -> bytes:
    return frame(VERSION_REQUEST, struct.pack(">HH", VERSION, VERSION), transaction)


def version_response(transaction: int) -> bytes:
    return frame(VERSION_RESPONSE, struct.pack(">HH", VERSION, 0), transaction)


def capability(mask: int) -> bytes:
    return frame(CAPABILITY, struct.pack(">Q", mask))


def subscribe_request(transaction: int, mask: int) -> bytes:
    return frame(SUBSCRIBE_REQUEST, struct.pack(">Q", mask), transaction)


def subscribe_response(transaction: int, mask: int) -> bytes:
    return frame(SUBSCRIBE_RESPONSE, struct.pack(">QHxx", mask, 0 if mask else 2), transaction)


def mask_of(body: bytes) -> int:
    """What a capability, or either message of a subscription, begins with."""
    return int.from_bytes(body[:8], "big")


def notify(sequence: int, due_ns: int, sent_ns: int, readings: int = 4) -> bytes:
    """A measurement notification of one mobile station."""
    size = _NOTIFY_FRAME.size + READING.size * readings
    head = (MAGIC, 0, MEASUREMENT_NOTIFY, size, 0)
    return _NOTIFY_FRAME.pack(*head, sequence, due_ns, sent_ns, _STATION, 0, readings) + _READING * readings


class Stream:
    """The bytes of one direction, frame by frame."""

    def __init__(self) -> None:
        self._data = bytearray()

    def feed(self, data: bytes) -> list[Frame]:
        """Take bytes; the frames that are whole now.

        Raises:
            Broken: these are no frames.
        """
        self._data += data
        frames, position = [], 0
        while len(self._data) - position >= HEADER.size:
            magic, flags, msg_id, length, transaction = HEADER.unpack_from(self._data, position)
            if (magic, flags) != (MAGIC, 0) or not HEADER.size <= length <= MAX_FRAME_BYTES:
                raise Broken(f"no frame: {bytes(self._data[position : position + HEADER.size]).hex()}")
            if len(self._data) - position < length:
                break
            frames.append(Frame(msg_id, transaction, bytes(self._data[position + HEADER.size : position + length])))
            position += length
        del self._data[:position]
        return frames

    @property
    def missing(self) -> int:
        """How many bytes are surely missing until the frame that has begun is whole (or its header is)."""
        if len(self._data) < HEADER.size:
            return HEADER.size - len(self._data)
        return int(HEADER.unpack_from(self._data)[3]) - len(self._data)
