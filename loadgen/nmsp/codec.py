"""One message <-> bytes, for every kind. The path of many measurement notifications is `nmsp.hot`."""

from __future__ import annotations

import struct
from typing import Any

from loadgen.errors import RemoteProtocolError
from loadgen.nmsp.messages import KIND_OF, Kind, MeasurementNotify, Message, Reading, Unsupported
from loadgen.nmsp.profile import Record, WireProfile

_STRUCT_OF = {kind: message for message, kind in KIND_OF.items()}


class Codec:
    """Encodes and decodes single messages by a wire profile."""

    def __init__(self, profile: WireProfile) -> None:
        self.profile = profile

    def encode(self, message: Message, transaction: int = 0) -> bytes:
        """The frame of a message.

        Args:
            transaction: correlates a response with its request; 0 for what is neither.
        """
        kind = KIND_OF[type(message)]
        profile = self.profile
        body = _pack(profile.body[kind], message, self._extra(message))
        if isinstance(message, MeasurementNotify):
            body += b"".join(_pack(profile.reading, reading, {}) for reading in message.readings)
        return self.header(kind, len(body), transaction) + body

    def header(self, kind: Kind, body_bytes: int, transaction: int = 0) -> bytes:
        """The header of a frame whose body has `body_bytes` bytes."""
        header = self.profile.header
        values = {
            **header.constants,
            "msg_id": self.profile.ids[kind],
            "length": header.size + body_bytes - self.profile.length_of_header,
            "transaction": transaction,
        }
        return header.struct.pack(*(values[name] for name in header.names))

    def decode_untrusted(self, msg_id: int, body: memoryview) -> Message:
        """The message in a frame's body.

        Raises:
            RemoteProtocolError: kind `malformed`, a body of the wrong size or a count that does not match it.
        """
        kind = self.profile.kinds.get(msg_id)
        if kind is None:
            return Unsupported(msg_id)
        record = self.profile.body[kind]
        if kind is Kind.MEASUREMENT_NOTIFY:
            return self._notify_untrusted(body)
        if len(body) != record.size:
            raise RemoteProtocolError("malformed", f"expected {kind.label} of {record.size} bytes, found {len(body)}")
        return _STRUCT_OF[kind](**_unpack(record, body, 0))  # type: ignore[return-value]

    def _notify_untrusted(self, body: memoryview) -> MeasurementNotify:
        profile = self.profile
        if len(body) < profile.notify.size:
            raise RemoteProtocolError(
                "malformed",
                f"expected measurement_notify of at least {profile.notify.size} bytes, found {len(body)}",
            )
        values = _unpack(profile.notify, body, 0)
        count = values.pop(profile.count_field)
        expected = profile.notify.size + count * profile.reading.size
        if count > profile.max_readings or len(body) != expected:
            raise RemoteProtocolError(
                "malformed",
                f"expected at most {profile.max_readings} readings that fill the body, "
                f"found {count} readings in {len(body)} bytes",
            )
        readings = tuple(
            Reading(**_unpack(profile.reading, body, profile.notify.size + i * profile.reading.size))
            for i in range(count)
        )
        return MeasurementNotify(**values, readings=readings)

    def _extra(self, message: Message) -> dict[str, Any]:
        if isinstance(message, MeasurementNotify):
            return {self.profile.count_field: len(message.readings)}
        return {}


def _pack(record: Record, value: Any, extra: dict[str, Any]) -> bytes:
    known = {**record.constants, **extra}
    return record.struct.pack(*(known[n] if n in known else getattr(value, n) for n in record.names))


def _unpack(record: Record, body: memoryview, offset: int) -> dict[str, Any]:
    try:
        values = dict(zip(record.names, record.struct.unpack_from(body, offset), strict=True))
    except struct.error as error:  # pragma: no cover - sizes were checked by the caller
        raise RemoteProtocolError("malformed", str(error)) from error
    for name in record.constants:
        del values[name]
    return values
