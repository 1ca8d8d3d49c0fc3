"""The reference profile written down a second time, from docs/wire-profile.md alone: nothing of loadgen.nmsp is used.

What a test sends or expects must not come from the code under test.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable
from typing import NamedTuple

MAGIC = 0x4E
HEADER = struct.Struct(">BBHII")  # magic, flags, msg_id, length, transaction
NOTIFY = struct.Struct(">QQQ6sBB")  # sequence, due_ns, sent_ns, station_mac, subservice, reading_count
READING = struct.Struct(">6sBBBbbbH")  # ap_mac, slot, band, source, rssi_a, rssi_b, snr, age_s
MAX_FRAME_BYTES = 65536

VERSION_REQUEST, VERSION_RESPONSE, CAPABILITY, SUBSCRIBE_REQUEST, SUBSCRIBE_RESPONSE = 1, 2, 3, 4, 5
ECHO_REQUEST, ECHO_RESPONSE, MEASUREMENT_NOTIFY = 6, 7, 16
MEASUREMENT_REQUEST, MEASUREMENT_RESPONSE = 17, 18

RSSI_MS = 1 << 0
CATALYST_9800 = 0x68EBE7


class Frame(NamedTuple):
    """One frame, taken apart."""

    msg_id: int
    transaction: int
    body: bytes


def frame(msg_id: int, body: bytes = b"", transaction: int = 0) -> bytes:
    """A whole frame."""
    return HEADER.pack(MAGIC, 0, msg_id, HEADER.size + len(body), transaction) + body


def version_request(transaction: int = 1, lowest: int = 1, highest: int = 1) -> bytes:
    return frame(VERSION_REQUEST, struct.pack(">HH", lowest, highest), transaction)


def version_response(transaction: int, version: int = 1, status: int = 0) -> bytes:
    return frame(VERSION_RESPONSE, struct.pack(">HH", version, status), transaction)


def capability(mask: int = CATALYST_9800) -> bytes:
    return frame(CAPABILITY, struct.pack(">Q", mask))


def subscribe_request(transaction: int = 2, mask: int = RSSI_MS) -> bytes:
    return frame(SUBSCRIBE_REQUEST, struct.pack(">Q", mask), transaction)


def subscribe_response(transaction: int, mask: int = RSSI_MS, status: int = 0) -> bytes:
    return frame(SUBSCRIBE_RESPONSE, struct.pack(">QHxx", mask, status), transaction)


def notify(sequence: int, readings: int = 1, subservice: int = 0, due_ns: int | None = None) -> bytes:
    now = time.time_ns()
    body = NOTIFY.pack(sequence, now if due_ns is None else due_ns, now, b"\x02Station"[:6], subservice, readings)
    return frame(MEASUREMENT_NOTIFY, body + READING.pack(b"\x02AP__1", 0, 0, 1, -60, -61, 30, 1) * readings)


_READING_BYTES = 14


def measurement_response(request: Frame, transaction: int | None = None) -> bytes:
    """The answer to it, with one reading; to another transaction, if one is given."""
    mac, subservice = request.body[:6], request.body[6]
    body = mac + bytes([subservice, 1]) + struct.pack(">H", 0) + bytes(_READING_BYTES)
    return frame(MEASUREMENT_RESPONSE, body, request.transaction if transaction is None else transaction)


def take_frames(data: bytes) -> tuple[list[Frame], bytes]:
    """The whole frames at the beginning of `data`, and the rest."""
    frames = []
    while len(data) >= HEADER.size:
        magic, flags, msg_id, length, transaction = HEADER.unpack_from(data)
        assert (magic, flags) == (MAGIC, 0), data[: HEADER.size].hex()
        assert HEADER.size <= length <= MAX_FRAME_BYTES, data[: HEADER.size].hex()
        if len(data) < length:
            break
        frames.append(Frame(msg_id, transaction, data[HEADER.size : length]))
        data = data[length:]
    return frames, data


class FrameReader:
    """Frames one by one out of anything with `recv`."""

    def __init__(self, receive: Callable[[int], bytes]) -> None:
        self._receive = receive
        self._data = b""
        self._frames: list[Frame] = []

    def next(self) -> Frame | None:
        """The next frame; None when the peer closed."""
        while not self._frames:
            chunk = self._receive(65536)
            if not chunk:
                return None
            self._frames, self._data = take_frames(self._data + chunk)
        return self._frames.pop(0)
