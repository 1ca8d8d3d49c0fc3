"""An independent decoder of the reference wire profile, written from docs/wire-profile.md and nothing else.

It shares no code and no data with the package: if both agree on the bytes, the page is right and complete. It needs
only Python's standard library, so it can also be copied to wherever a capture is to be read.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

MAGIC = 0x4E
HEADER_BYTES = 12
MAX_FRAME_BYTES = 65_536
# The one element of the one message that has some: type, name, most bytes.
PAYLOAD_TYPE, PAYLOAD, PAYLOAD_BYTES = 1, "payload", 500
ELEMENT_HEAD_BYTES = 4

Frame = dict[str, Any]


class DecodeError(ValueError):
    """What the page calls an error. `frames` are the frames that were decoded before it was met."""

    def __init__(self, reason: str, frames: Iterable[Frame] = ()) -> None:
        super().__init__(reason)
        self.frames = list(frames)


class Field(NamedTuple):
    name: str
    type: str
    offset: int
    size: int = 0
    """Of text and bytes."""


class Record(NamedTuple):
    size: int
    fields: tuple[Field, ...]


class Repeat(NamedTuple):
    """Records behind the fixed part; the last field before them, whose name ends in _count, counts them."""

    record: str
    name: str
    max: int


class Message(NamedTuple):
    name: str
    sender: str
    body_bytes: int
    """Without records and elements."""
    fields: tuple[Field, ...]
    repeat: Repeat | None = None
    elements: bool = False


RECORDS = {
    "reading": Record(
        14,
        (
            Field("ap_mac", "mac", 0),
            Field("slot", "u8", 6),
            Field("band", "u8", 7),
            Field("source", "u8", 8),
            Field("rssi_a", "i8", 9),
            Field("rssi_b", "i8", 10),
            Field("snr", "i8", 11),
            Field("age_s", "u16", 12),
        ),
    ),
    "ap_group": Record(
        32,
        (Field("name", "text", 0, 32),),
    ),
    "client_info": Record(
        98,
        (
            Field("station_mac", "mac", 0),
            Field("slot", "u8", 6),
            Field("wlan", "u8", 7),
            Field("ap_mac", "mac", 8),
            Field("status", "u8", 14),
            Field("protocol", "u8", 15),
            Field("vlan", "u16", 16),
            Field("address", "bytes", 18, 16),
            Field("user_name", "text", 34, 32),
            Field("ssid", "text", 66, 32),
        ),
    ),
    "tag_info": Record(
        15,
        (
            Field("tag_mac", "mac", 0),
            Field("tag_type", "u8", 6),
            Field("vendor", "u8", 7),
            Field("battery", "u8", 8),
            Field("channel", "u8", 9),
            Field("interval_s", "u16", 10),
            Field("sequence_number", "u16", 12),
            Field("tx_power", "i8", 14),
        ),
    ),
    "rogue_info": Record(
        62,
        (
            Field("rogue_mac", "mac", 0),
            Field("is_client", "u8", 6),
            Field("classification", "u8", 7),
            Field("bssid", "mac", 8),
            Field("state", "u8", 14),
            Field("containment", "u8", 15),
            Field("channel", "u8", 16),
            Field("encrypted", "u8", 17),
            Field("rssi", "i8", 18),
            Field("snr", "i8", 19),
            Field("detecting_aps", "u16", 20),
            Field("first_seen_s", "u32", 22),
            Field("last_seen_s", "u32", 26),
            Field("ssid", "text", 30, 32),
        ),
    ),
    "client_statistics": Record(
        52,
        (
            Field("station_mac", "mac", 0),
            Field("rssi", "i8", 6),
            Field("snr", "i8", 7),
            Field("bytes_received", "u64", 8),
            Field("bytes_sent", "u64", 16),
            Field("packets_received", "u64", 24),
            Field("packets_sent", "u64", 32),
            Field("policy_errors", "u32", 40),
            Field("tx_retries", "u32", 44),
            Field("tx_excessive_retries", "u32", 48),
        ),
    ),
    "tag_statistics": Record(
        22,
        (
            Field("tag_mac", "mac", 0),
            Field("bytes_received", "u64", 6),
            Field("packets_received", "u64", 14),
        ),
    ),
    "rogue_statistics": Record(
        16,
        (
            Field("rogue_mac", "mac", 0),
            Field("clients", "u16", 6),
            Field("reports", "u32", 8),
            Field("last_seen_s", "u32", 12),
        ),
    ),
    "interferer": Record(
        60,
        (
            Field("device_id", "u16", 0),
            Field("cluster", "mac", 2),
            Field("ap_mac", "mac", 8),
            Field("device_type", "u8", 14),
            Field("severity", "u8", 15),
            Field("duty_cycle", "u8", 16),
            Field("antenna", "u8", 17),
            Field("rssi", "i8", 18),
            Field("band", "u8", 19),
            Field("channels", "u32", 20),
            Field("detected_s", "u32", 24),
            Field("signature", "bytes", 28, 32),
        ),
    ),
    "air_quality": Record(
        20,
        (
            Field("ap_mac", "mac", 0),
            Field("slot", "u8", 6),
            Field("channel", "u8", 7),
            Field("index", "u8", 8),
            Field("lowest_index", "u8", 9),
            Field("total_power", "i8", 10),
            Field("total_duty_cycle", "u8", 11),
            Field("interference_power", "i8", 12),
            Field("interference_duty_cycle", "u8", 13),
            Field("devices", "u16", 14),
            Field("measured_s", "u32", 16),
        ),
    ),
    "attachment": Record(
        142,
        (
            Field("station_mac", "mac", 0),
            Field("state", "u8", 6),
            Field("category", "u8", 7),
            Field("slot", "u8", 8),
            Field("port", "u8", 9),
            Field("age_s", "u32", 10),
            Field("address", "bytes", 14, 16),
            Field("user_name", "text", 30, 32),
            Field("serial_number", "text", 62, 16),
            Field("udi", "text", 78, 32),
            Field("model", "text", 110, 32),
        ),
    ),
    "port_location": Record(
        66,
        (
            Field("slot", "u8", 0),
            Field("port", "u8", 1),
            Field("location", "text", 2, 64),
        ),
    ),
    "handover": Record(
        34,
        (
            Field("station_mac", "mac", 0),
            Field("from_ap", "mac", 6),
            Field("to_ap", "mac", 12),
            Field("anchor", "bytes", 18, 16),
        ),
    ),
    "ap_monitor": Record(
        12,
        (
            Field("ap_mac", "mac", 0),
            Field("slot", "u8", 6),
            Field("channel", "u8", 7),
            Field("noise", "i8", 8),
            Field("utilization", "u8", 9),
            Field("clients", "u16", 10),
        ),
    ),
    "ap_info": Record(
        56,
        (
            Field("ap_mac", "mac", 0),
            Field("state", "u8", 6),
            Field("radios", "u8", 7),
            Field("address", "bytes", 8, 16),
            Field("name", "text", 24, 32),
        ),
    ),
    "wips_alarm": Record(
        84,
        (
            Field("source_mac", "mac", 0),
            Field("ap_mac", "mac", 6),
            Field("signature", "u16", 12),
            Field("version", "u8", 14),
            Field("radio", "u8", 15),
            Field("band", "u8", 16),
            Field("channel", "u8", 17),
            Field("rssi", "i8", 18),
            Field("snr", "i8", 19),
            Field("context", "text", 20, 64),
        ),
    ),
    "wips_signature": Record(
        4,
        (
            Field("signature", "u16", 0),
            Field("enabled", "u8", 2),
            Field("threshold", "u8", 3),
        ),
    ),
}

MASK = Field("subservices", "u64", 0)
DEVICE_REQUEST = (Field("device_mac", "mac", 0), Field("subservice", "u8", 6))
DEVICE_RESPONSE = (
    Field("device_mac", "mac", 0),
    Field("subservice", "u8", 6),
    Field("record_count", "u8", 7),
    Field("status", "u16", 8),
)
MEASUREMENT = (
    Field("sequence", "u64", 0),
    Field("due_ns", "u64", 8),
    Field("sent_ns", "u64", 16),
    Field("station_mac", "mac", 24),
    Field("subservice", "u8", 30),
    Field("reading_count", "u8", 31),
)
NOTIFY = (
    Field("sequence", "u64", 0),
    Field("due_ns", "u64", 8),
    Field("sent_ns", "u64", 16),
    Field("subservice", "u8", 24),
    Field("record_count", "u8", 25),
)

MESSAGES = {
    1: Message("version_request", "mse", 4, (Field("lowest", "u16", 0), Field("highest", "u16", 2))),
    2: Message("version_response", "wlc", 4, (Field("version", "u16", 0), Field("status", "u16", 2))),
    3: Message("capability", "wlc", 8, (MASK,)),
    4: Message("subscribe_request", "mse", 8, (MASK,)),
    5: Message("subscribe_response", "wlc", 12, (MASK, Field("status", "u16", 8))),
    6: Message("echo_request", "mse", 0, ()),
    7: Message("echo_response", "wlc", 0, ()),
    8: Message("capability_request", "mse", 0, ()),
    9: Message("unsubscribe_request", "mse", 8, (MASK,)),
    10: Message("unsubscribe_response", "wlc", 12, (MASK, Field("status", "u16", 8))),
    11: Message(
        "subscribe_groups_request", "mse", 10, (MASK, Field("group_count", "u8", 8)), Repeat("ap_group", "groups", 64)
    ),
    16: Message("measurement_notify", "wlc", 32, MEASUREMENT, Repeat("reading", "readings", 16)),
    17: Message("measurement_request", "mse", 8, DEVICE_REQUEST),
    18: Message("measurement_response", "wlc", 10, DEVICE_RESPONSE, Repeat("reading", "readings", 16)),
    32: Message("information_request", "mse", 8, DEVICE_REQUEST),
    33: Message("client_info_response", "wlc", 10, DEVICE_RESPONSE, Repeat("client_info", "records", 64)),
    34: Message("tag_info_response", "wlc", 10, DEVICE_RESPONSE, Repeat("tag_info", "records", 64)),
    35: Message("rogue_info_response", "wlc", 10, DEVICE_RESPONSE, Repeat("rogue_info", "records", 64)),
    36: Message("client_info_notify", "wlc", 26, NOTIFY, Repeat("client_info", "records", 64)),
    37: Message("tag_info_notify", "wlc", 26, NOTIFY, Repeat("tag_info", "records", 64), elements=True),
    38: Message("rogue_info_notify", "wlc", 26, NOTIFY, Repeat("rogue_info", "records", 64)),
    48: Message("statistics_request", "mse", 8, DEVICE_REQUEST),
    49: Message("client_statistics_response", "wlc", 10, DEVICE_RESPONSE, Repeat("client_statistics", "records", 64)),
    50: Message("tag_statistics_response", "wlc", 10, DEVICE_RESPONSE, Repeat("tag_statistics", "records", 64)),
    51: Message("rogue_statistics_response", "wlc", 10, DEVICE_RESPONSE, Repeat("rogue_statistics", "records", 64)),
    52: Message("client_statistics_notify", "wlc", 26, NOTIFY, Repeat("client_statistics", "records", 64)),
    53: Message("tag_statistics_notify", "wlc", 26, NOTIFY, Repeat("tag_statistics", "records", 64)),
    54: Message("rogue_statistics_notify", "wlc", 26, NOTIFY, Repeat("rogue_statistics", "records", 64)),
    64: Message("on_demand_request", "mse", 8, DEVICE_REQUEST),
    65: Message("on_demand_response", "wlc", 10, DEVICE_RESPONSE, Repeat("reading", "readings", 16)),
    80: Message(
        "wips_config_request", "mse", 2, (Field("record_count", "u8", 0),), Repeat("wips_signature", "records", 64)
    ),
    81: Message("wips_config_response", "wlc", 4, (Field("status", "u16", 0), Field("signatures", "u16", 2))),
    96: Message("interferer_notify", "wlc", 26, NOTIFY, Repeat("interferer", "records", 64)),
    97: Message("air_quality_notify", "wlc", 26, NOTIFY, Repeat("air_quality", "records", 64)),
    112: Message("attachment_notify", "wlc", 26, NOTIFY, Repeat("attachment", "records", 64)),
    113: Message("location_notify", "wlc", 26, NOTIFY, Repeat("port_location", "records", 64)),
    114: Message("handover_notify", "wlc", 26, NOTIFY, Repeat("handover", "records", 64)),
    115: Message("ap_monitor_notify", "wlc", 26, NOTIFY, Repeat("ap_monitor", "records", 64)),
    116: Message("ap_info_notify", "wlc", 26, NOTIFY, Repeat("ap_info", "records", 64)),
    117: Message("wips_alarm_notify", "wlc", 26, NOTIFY, Repeat("wips_alarm", "records", 64)),
}
SENDERS = {message.name: message.sender for message in MESSAGES.values()}

SIZES = {"u8": 1, "i8": 1, "u16": 2, "u32": 4, "u64": 8, "mac": 6}


def _value(record: bytes, field: Field) -> int | str:
    """A number; a MAC address with colons, text, or bytes as hex digits."""
    raw = record[field.offset : field.offset + (field.size or SIZES[field.type])]
    if field.type == "mac":
        return raw.hex(":")
    if field.type == "text":
        return raw.rstrip(b"\0").decode("utf-8", "replace")
    if field.type == "bytes":
        return raw.hex()
    return int.from_bytes(raw, "big", signed=field.type == "i8")


def _values(record: bytes, fields: Iterable[Field]) -> dict[str, Any]:
    return {field.name: _value(record, field) for field in fields}


def _frame_length(header: bytes) -> int:
    magic, flags, length = header[0], header[1], int.from_bytes(header[4:8], "big")
    if magic != MAGIC:
        raise DecodeError(f"magic: expected {MAGIC:#04x}, found {magic:#04x}")
    if flags != 0:
        raise DecodeError(f"flags: expected 0, found {flags}")
    if not HEADER_BYTES <= length <= MAX_FRAME_BYTES:
        raise DecodeError(f"length: expected {HEADER_BYTES} to {MAX_FRAME_BYTES}, found {length}")
    return length


def _decode_frame(frame: bytes) -> Frame:
    """Decode one whole frame whose header has been checked."""
    msg_id, transaction = int.from_bytes(frame[2:4], "big"), int.from_bytes(frame[8:12], "big")
    message = MESSAGES.get(msg_id)
    if message is None:
        return {"message": "unsupported", "msg_id": msg_id, "transaction": transaction, "fields": {}}
    return {"message": message.name, "transaction": transaction, "fields": _decode_body(message, frame[HEADER_BYTES:])}


def _decode_body(message: Message, body: bytes) -> dict[str, Any]:
    exact = message.repeat is None and not message.elements
    if len(body) < message.body_bytes or (exact and len(body) != message.body_bytes):
        more = "" if exact else " or more"
        raise DecodeError(f"{message.name}: expected a body of {message.body_bytes} bytes{more}, found {len(body)}")
    fields = _values(body, message.fields)
    end = message.body_bytes
    if (repeat := message.repeat) is not None:
        counter = next(field.name for field in message.fields if field.name.endswith("_count"))
        count = fields.pop(counter)  # from here on the length of the list
        if count > repeat.max:
            raise DecodeError(f"{counter}: expected 0 to {repeat.max}, found {count}")
        record = RECORDS[repeat.record]
        starts = range(end, end + record.size * count, record.size)
        end += record.size * count
        if len(body) < end or (len(body) > end and not message.elements):
            raise DecodeError(f"{counter}: {count} records need a body of {end} bytes, found {len(body)}")
        fields[repeat.name] = [_values(body[start : start + record.size], record.fields) for start in starts]
    if message.elements:
        fields |= _decode_elements(message, body[end:])
    return fields


def _decode_elements(message: Message, data: bytes) -> dict[str, str]:
    found: dict[str, str] = {}
    while data:
        number, size = int.from_bytes(data[:2], "big"), int.from_bytes(data[2:4], "big")
        if len(data) < ELEMENT_HEAD_BYTES + size:  # also if there is no whole head
            raise DecodeError(f"{message.name}: an element does not end within the body")
        value, data = data[ELEMENT_HEAD_BYTES : ELEMENT_HEAD_BYTES + size], data[ELEMENT_HEAD_BYTES + size :]
        if number != PAYLOAD_TYPE:
            continue
        if size > PAYLOAD_BYTES:
            raise DecodeError(f"{PAYLOAD}: expected 0 to {PAYLOAD_BYTES} bytes, found {size}")
        if PAYLOAD in found:
            raise DecodeError(f"{PAYLOAD}: expected one element, found a second one")
        found[PAYLOAD] = value.hex()
    return {PAYLOAD: "", **found}


class Decoder:
    """Decodes one direction of a session, whose bytes may come in pieces of any size."""

    def __init__(self) -> None:
        self._pending = b""
        self._failed = False

    def feed(self, data: bytes) -> list[Frame]:
        """Return the frames that became whole with `data`. After an error there is no going on."""
        if self._failed:
            raise DecodeError("the stream is lost since an earlier error")
        self._pending += data
        frames: list[Frame] = []
        try:
            while len(self._pending) >= HEADER_BYTES:
                length = _frame_length(self._pending[:HEADER_BYTES])
                if len(self._pending) < length:
                    break
                frame, self._pending = self._pending[:length], self._pending[length:]
                frames.append(_decode_frame(frame))
        except DecodeError as error:
            self._failed = True
            error.frames = frames
            raise
        return frames

    def finish(self) -> None:
        """Say that no more bytes will come: an unfinished frame is an error."""
        if self._pending:
            raise DecodeError(f"truncated: the stream ends {len(self._pending)} bytes into a frame")


def decode_frames(data: bytes) -> list[Frame]:
    """Decode the whole of one direction of a session."""
    decoder = Decoder()
    frames = decoder.feed(data)
    try:
        decoder.finish()
    except DecodeError as error:
        error.frames = frames
        raise
    return frames


# What may come next in each state of the exchange, and the state after it.
ORDER: dict[str, dict[str, str]] = {
    "start": {"version_request": "version requested"},
    "version requested": {"version_response": "version agreed"},
    "version agreed": {"capability": "capability known"},
    "capability known": {"subscribe_request": "subscription requested"},
    "subscription requested": {"subscribe_response": "active"},
    "active": {name: "active" for name in SENDERS if not name.startswith("version_")},
    "no common version": {},
}

# Which requests a response may answer, where their names do not say it.
ANSWERED = {
    "capability": ("capability_request",),
    "subscribe_response": ("subscribe_request", "subscribe_groups_request"),
    **{f"{what}_info_response": ("information_request",) for what in ("client", "tag", "rogue")},
    **{f"{what}_statistics_response": ("statistics_request",) for what in ("client", "tag", "rogue")},
}


def check_order(frames_with_sender: Iterable[tuple[str, Frame]]) -> None:
    """Check the order of a session, given as (sender, frame) of both directions in the order of time.

    The sender is "mse" or "wlc". A session may end anywhere, so a beginning of the exchange is in order. Unknown
    messages may come from either side at any time. This is stricter than a receiver has to be: what the page says is
    to be counted (responses that nobody asked for, sequence numbers with gaps) is refused as well.
    """
    state = "start"
    waiting: set[tuple[str, int]] = set()  # (request, transaction)
    next_sequence = {"measurements": 0, "others": 0}
    for number, (sender, frame) in enumerate(frames_with_sender):
        name, transaction, fields = frame["message"], frame["transaction"], frame["fields"]
        where = f"frame {number}, {name} from {sender}"
        if name == "unsupported":
            continue
        if SENDERS[name] != sender:
            raise DecodeError(f"{where}: is sent by {SENDERS[name]} only")
        if name not in ORDER[state]:
            expected = " or ".join(ORDER[state]) or "nothing"
            raise DecodeError(f"{where}: expected {expected} in state '{state}'")
        first_capability = name == "capability" and state != "active"
        state = ORDER[state][name]

        if name.endswith("_request"):
            waiting.add((name, transaction))
        elif (name.endswith("_response") or name == "capability") and not first_capability:
            requests = ANSWERED.get(name, (name.replace("_response", "_request"),))
            asked = next((request for request in requests if (request, transaction) in waiting), None)
            if asked is None:
                raise DecodeError(f"{where}: no request is waiting with transaction {transaction}")
            waiting.remove((asked, transaction))
        elif transaction != 0:
            raise DecodeError(f"{where}: expected transaction 0, found {transaction}")

        if name == "version_response" and fields["status"] == 1:
            state = "no common version"
        if name.endswith("_notify"):
            series = "measurements" if name == "measurement_notify" else "others"
            if fields["sequence"] != next_sequence[series]:
                raise DecodeError(f"{where}: expected sequence {next_sequence[series]}, found {fields['sequence']}")
            next_sequence[series] += 1
