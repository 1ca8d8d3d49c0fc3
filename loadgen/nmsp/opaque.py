"""Messages that are known as bytes alone: the `[opaque.NAME]` of a wire profile, compiled.

What nobody understands can still be said, with what differs from time to time filled in; and what comes under its id is
known to be that message.
"""

from __future__ import annotations

from loadgen.errors import RemoteProtocolError
from loadgen.nmsp.messages import Role
from loadgen.nmsp.parts import Record
from loadgen.nmsp.profile_document import OpaqueDocument
from loadgen.units import Duration

SENDERS = {"wlc": frozenset({Role.WLC}), "mse": frozenset({Role.MSE}), "either": frozenset(Role)}


class OpaqueMessage:
    """A compiled opaque message.

    Attributes:
        body: its bytes, before anything is filled in.
        every_ns: it is said again and again in a running session; 0: it is not.
        answers: the other side's opaque message to which it is the response; empty: it is none.
        fills: what is filled in, and where.
        has_mac: the sender's MAC is filled in.
    """

    def __init__(self, name: str, document: OpaqueDocument, order: str) -> None:
        self.name, self.id = name, document.id
        self.senders = SENDERS[document.sender]
        self.body = bytes.fromhex(document.hex or "")
        self.every_ns = 0 if document.every is None else int(Duration.parse(document.every))
        self.answers = document.answers
        self.varies = document.varies
        self.fills = Record(document.fields, len(self.body), order)
        self.has_mac = "mac" in self.fills.names
        self.has_transaction = "transaction" in self.fills.names

    def filled(self, transaction: int, mac: bytes, count: int, unix_ns: int, since_ns: int) -> bytes:
        """Its bytes as they are said now. Numbers that are too large for their place go round.

        Args:
            mac: of the sender. count: how often it was said before in this session.
            unix_ns, since_ns: the time, since 1970 and since the session began.
        """
        fills, body = self.fills, bytearray(self.body)
        numbers = {**fills.constants, "transaction": transaction, "counter": count}
        for name in fills.names:
            at, width = fills.offsets[name], fills.widths[name]
            if name == "mac":
                body[at : at + width] = mac
                continue
            if name == "time":
                time = fills.times[name]
                number = time.to_wire(since_ns if time.since_began else unix_ns)
            else:
                number = numbers[name]
            fills.field_struct(name).pack_into(body, at, number & (1 << 8 * width) - 1)
        return bytes(body)

    def check_untrusted(self, body_bytes: int, align: int) -> None:
        """Raises: RemoteProtocolError: `malformed`, it is not as long as it always is."""
        if not self.varies and not 0 <= body_bytes - len(self.body) < align:
            raise RemoteProtocolError(
                "malformed", f"expected {self.name} of {len(self.body)} bytes, found {body_bytes}"
            )
