"""A WLC and an MSE of blocking sockets that know the five layouts from what `profile show` prints.

They read with `show_decoder`, and write with `struct` and the printed tables. Nothing of loadgen is imported.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
import time
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from show_decoder import Layout

# Ends a peer that waits in vain; a test that needs it has failed already.
PATIENCE_S = 60.0
RSSI_MS = 1 << 0
VERSION = 1


class Reading(NamedTuple):
    ap_mac: bytes
    slot: int
    band: int
    source: int
    rssi_a: int
    rssi_b: int
    snr: int
    age_s: int


class Station(NamedTuple):
    mac: bytes
    readings: tuple[Reading, ...]


# -- frames ------------------------------------------------------------------------------------------------------------


class Writer:
    """Writes the frames of a session, one after the other.

    Attributes:
        MESSAGES: of each message its number, and the format and the names of the fields of its body.
        sent, received: how many frames before.
    """

    MESSAGES: ClassVar[dict[str, tuple[int, str, tuple[str, ...]]]]

    def __init__(self) -> None:
        self.sent = self.received = 0

    def write(self, message: str, transaction: int = 0, **values: Any) -> bytes:
        number, form, names = self.MESSAGES[message]
        body = struct.pack(form, *(values[name] for name in names))
        frame = self.frame(number, body, transaction)
        self.sent += 1
        return frame

    def measurement(self, time_ns: int, stations: Sequence[Station]) -> bytes:
        """A notification of these stations, of which layouts with a place for one take one.

        Args:
            time_ns: when it was due, in ns since 1970, or since the session began if that is what the layout has.
        """
        frame = self.frame(self.MESSAGES["measurement_notify"][0], self.measured(time_ns, stations), 0)
        self.sent += 1
        return frame

    def frame(self, number: int, body: bytes, transaction: int) -> bytes:
        raise NotImplementedError

    def measured(self, time_ns: int, stations: Sequence[Station]) -> bytes:
        raise NotImplementedError


class Heron(Writer):
    MESSAGES: ClassVar = {
        "echo_request": (1, "", ()),
        "echo_response": (32769, "", ()),
        "version_request": (16, ">HH", ("lowest", "highest")),
        "version_response": (32784, ">HH", ("version", "status")),
        "capability": (32785, ">Q", ("subservices",)),
        "subscribe_request": (18, ">Q", ("subservices",)),
        "subscribe_response": (32786, ">QH", ("subservices", "status")),
        "measurement_notify": (16385, "", ()),
    }

    def frame(self, number: int, body: bytes, transaction: int) -> bytes:
        frame = struct.pack(">HBBHII", 0xC0DE, 3, 0, number, 14 + len(body) + 4, transaction) + body
        return frame + struct.pack(">I", zlib.crc32(frame))

    def measured(self, time_ns: int, stations: Sequence[Station]) -> bytes:
        ((mac, readings),) = stations
        seconds, rest = divmod(time_ns, 10**9)
        return struct.pack(">II6sBB", seconds, rest // 1000, mac, 0, len(readings)) + b"".join(
            struct.pack(">6sBBbbbBI", r.ap_mac, r.slot, r.band, r.rssi_a, r.rssi_b, r.snr, r.source, r.age_s)
            for r in readings
        )


class Stork(Writer):
    MESSAGES: ClassVar = {
        "version_request": (257, ">BB", ("lowest", "highest")),
        "version_response": (258, ">BB", ("status", "version")),
        "capability": (259, ">Q", ("subservices",)),
        "subscribe_request": (260, ">Q", ("subservices",)),
        "subscribe_response": (261, ">BQ", ("status", "subservices")),
        "echo_request": (510, "", ()),
        "echo_response": (511, "", ()),
        "measurement_notify": (513, "", ()),
    }
    FLAGS: ClassVar = {257: 1, 258: 2, 259: 2, 260: 1, 261: 2, 510: 1, 511: 0x82, 513: 4}

    def frame(self, number: int, body: bytes, transaction: int) -> bytes:
        return struct.pack(">BBHII", 1, self.FLAGS[number], number, transaction, len(body)) + body

    def measured(self, time_ns: int, stations: Sequence[Station]) -> bytes:
        body = struct.pack(">QBB", time_ns, 0, len(stations))
        for mac, readings in stations:
            body += struct.pack(">6sH", mac, 14 * len(readings)) + b"".join(
                struct.pack(">6sBBBbbbH", r.ap_mac, r.slot, r.band, r.source, r.rssi_a, r.rssi_b, r.snr, r.age_s)
                for r in readings
            )
        return body


def _element(number: int, value: bytes) -> bytes:
    return bytes((number, len(value))) + value


class Wren(Writer):
    MESSAGES: ClassVar = {  # each field with the head of its element
        "version_request": (1, "<HBHB", ("id 1", "lowest", "id 2", "highest")),
        "version_response": (2, "<HBHB", ("id 3", "status", "id 4", "version")),
        "capability": (3, "<HQ", ("id 5", "subservices")),
        "subscribe_request": (4, "<HQ", ("id 5", "subservices")),
        "subscribe_response": (5, "<HBHQ", ("id 3", "status", "id 5", "subservices")),
        "echo_request": (6, "", ()),
        "echo_response": (7, "", ()),
        "measurement_notify": (16, "", ()),
    }

    def write(self, message: str, transaction: int = 0, **values: Any) -> bytes:
        heads = {f"id {number}": size << 8 | number for number, size in ((1, 1), (2, 1), (3, 1), (4, 1), (5, 8))}
        return super().write(message, transaction, **values, **heads)

    def frame(self, number: int, body: bytes, transaction: int) -> bytes:
        return struct.pack("<BHBHB", 0xA5, 4 + len(body), number, transaction, 0) + body

    def measured(self, time_ns: int, stations: Sequence[Station]) -> bytes:
        ((mac, readings),) = stations
        return (
            _element(17, b"\0")
            + _element(16, mac)
            + _element(18, struct.pack("<I", time_ns // 10**9))
            + b"".join(
                _element(
                    32,
                    struct.pack("<bbbB6sBBH", r.rssi_a, r.rssi_b, r.snr, r.source, r.ap_mac, r.slot, r.band, r.age_s),
                )
                for r in readings
            )
        )


class Plover(Writer):
    MESSAGES: ClassVar = {
        "version_request": (1, ">BB", ("lowest", "highest")),
        "version_response": (2, ">BH", ("version", "status")),
        "capability": (3, ">Q", ("subservices",)),
        "subscribe_request": (4, ">Q", ("subservices",)),
        "subscribe_response": (5, ">QB", ("subservices", "status")),
        "echo_request": (6, "", ()),
        "echo_response": (7, "", ()),
        "measurement_notify": (256, "", ()),
    }
    REQUESTS = (1, 4, 6)

    def frame(self, number: int, body: bytes, transaction: int) -> bytes:
        body += bytes(-len(body) % 4)
        words = (20 + len(body)) // 4
        kind = 0x20 if number in self.REQUESTS else 0x10
        numbers = (self.sent + 1, self.received)
        frame = struct.pack(">BBHIIHHI", 0x45, kind, words, *numbers, number, 0, transaction) + body
        total = sum(struct.unpack(f">{len(frame) // 2}H", frame))
        while total > 0xFFFF:
            total = (total >> 16) + (total & 0xFFFF)
        return frame[:14] + struct.pack(">H", total ^ 0xFFFF) + frame[16:]

    def measured(self, time_ns: int, stations: Sequence[Station]) -> bytes:
        ((mac, readings),) = stations
        return struct.pack(">Q6sHH", time_ns // 10**6, mac, 0, 4 * len(readings)) + b"".join(
            struct.pack(">6sBBbbbBB3x", r.ap_mac, r.slot, r.band, r.rssi_a, r.rssi_b, r.snr, r.source, r.age_s)
            for r in readings
        )


class Swift(Writer):
    MESSAGES: ClassVar = {
        "capability": (17153, "<Q", ("subservices",)),
        "echo_request": (17665, "", ()),
        "echo_response": (17666, "", ()),
        "measurement_notify": (19713, "", ()),
        "subscribe_request": (21249, "<Q", ("subservices",)),
        "subscribe_response": (21250, "<QB", ("subservices", "status")),
        "version_request": (22017, "<BB", ("lowest", "highest")),
        "version_response": (22018, "<BB", ("version", "status")),
    }

    def frame(self, number: int, body: bytes, transaction: int) -> bytes:
        frame = struct.pack("<HH", number, len(body)) + body
        register = 0
        for byte in frame + struct.pack("<HH", 0, 0x0A0D):
            register ^= byte
            for _ in range(8):
                register = register >> 1 ^ (0x8408 if register & 1 else 0)  # 0x1021, least significant bit first
        return frame + struct.pack("<HH", register, 0x0A0D)

    def measured(self, time_ns: int, stations: Sequence[Station]) -> bytes:
        body = bytes((0, len(stations)))
        for mac, readings in stations:
            record = _element(77, mac)
            for r in readings:
                small = enumerate(struct.pack("BBBbbb", r.slot, r.band, r.source, r.rssi_a, r.rssi_b, r.snr), 2)
                each = _element(1, r.ap_mac) + b"".join(_element(number, bytes((byte,))) for number, byte in small)
                record += _element(82, each + _element(8, struct.pack("<H", r.age_s)))
            body += struct.pack("<H", 2 + len(record)) + record
        return body + struct.pack("<I", time_ns // 10**6)


WRITERS: dict[str, type[Writer]] = {"heron": Heron, "wren": Wren, "stork": Stork, "plover": Plover, "swift": Swift}


# -- sessions ----------------------------------------------------------------------------------------------------------


class Notice(NamedTuple):
    """A measurement notification to tell: when it was due, as of `Writer.measurement`, and its stations."""

    time_ns: int
    stations: tuple[Station, ...]


class Heard(NamedTuple):
    """A measurement notification: when it was due (in ns since 1970, or since the session began, by its layout), its
    stations, and when it came, in ns since 1970."""

    time_ns: int
    stations: tuple[Station, ...]
    received_ns: int


class Session:
    """One end of a tunnel."""

    def __init__(self, layout: Layout, writer: Writer, tls: ssl.SSLSocket) -> None:
        self._layout, self._writer, self._tls = layout, writer, tls
        self._data = b""

    def open(self, mine: str) -> None:
        """Say and hear what comes until the session is active, as the MSE or the WLC."""
        transactions: dict[str, int] = {}
        values = {"lowest": VERSION, "highest": VERSION, "version": VERSION, "status": 0, "subservices": RSSI_MS}
        for number, (speaker, message) in enumerate(self._layout.opening, 7):
            exchange = message.removesuffix("_request").removesuffix("_response")
            if speaker == mine:
                if message.endswith("_request"):
                    transactions[exchange] = number
                self.say(message, transactions.get(exchange, 0), **values)
                continue
            found = self.hear(message)
            transaction = found["header"].get("transaction", 0)
            if message.endswith("_request"):
                transactions[exchange] = transaction
            elif "transaction" in found["header"]:
                assert transaction == transactions.get(exchange, 0), found
            if message == "capability":  # more than what is wanted
                found["body"]["subservices"] &= RSSI_MS
            assert found["body"] == {name: values[name] for name in found["body"]}, found

    def say(self, message: str, transaction: int = 0, **values: Any) -> None:
        self._tls.sendall(self._writer.write(message, transaction, **values))

    def notify(self, notices: Sequence[Notice]) -> None:
        """All at once."""
        self._tls.sendall(b"".join(self._writer.measurement(*notice) for notice in notices))

    def next(self) -> dict[str, Any] | None:
        """The next frame; None when the peer has said goodbye between two of them."""
        while (size := self._layout.size_of(self._data)) is None or len(self._data) < size:
            chunk = self._tls.recv(65536)
            if not chunk:
                assert self._data == b"", f"ended inside of a frame: {self._data.hex()}"
                return None
            self._data += chunk
        frame, self._data = self._data[:size], self._data[size:]
        found = self._layout.decode(frame)
        assert found["checksum"] is not False, frame.hex()
        header = found["header"]
        if "frame_number" in header:
            assert header["frame_number"] == self._writer.received + 1, header
            assert header["acknowledged"] <= self._writer.sent, header
        self._writer.received += 1
        return found

    def hear(self, message: str) -> dict[str, Any]:
        """The next frame, which has to be that message."""
        found = self.next()
        assert found is not None, f"expected {message}, found the end"
        assert found["message"] == message, found
        return found

    def leave(self) -> None:
        """Answer the other side's close_notify, and close."""
        self._tls.unwrap().close()


def stations_of(body: dict[str, Any]) -> tuple[Station, ...]:
    """Those of a measurement, whether it has a place for one, or records."""
    stations = [body] if "station_mac" in body else body["records"]
    return tuple(
        Station(
            each["station_mac"], tuple(Reading(**{k: r[k] for k in Reading._fields}) for r in each["records"])
        )
        for each in stations
    )  # fmt: skip


class Mse(threading.Thread):
    """Dials a WLC, subscribes to mobile stations, and hears it out.

    Attributes:
        heard: what it was notified of.
        echoes: how many were answered, by whoever the layout has answer them.
        failure: what went wrong.
    """

    def __init__(self, layout: Layout, writer: type[Writer], address: tuple[str, int], identity: Path) -> None:
        super().__init__(daemon=True)
        self._layout, self._writer, self._address, self._identity = layout, writer, address, identity
        self.heard: list[Heard] = []
        self.echoes = 0
        self.failure: BaseException | None = None

    def run(self) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.load_cert_chain(self._identity)
        try:
            with socket.create_connection(self._address, PATIENCE_S) as sock:
                tls = context.wrap_socket(sock, suppress_ragged_eofs=False)
                with tls:
                    self._play(Session(self._layout, self._writer(), tls))
        except BaseException as failure:
            self.failure = failure

    def _play(self, session: Session) -> None:
        session.open("mse")
        if self._layout.echo == "mse":
            session.say("echo_request", 99)
        while (found := session.next()) is not None:
            now = time.time_ns()
            if found["message"] == "echo_response":
                assert found["header"]["transaction"] == 99
                self.echoes += 1
            elif found["message"] == "echo_request":
                session.say("echo_response", found["header"].get("transaction", 0))
                self.echoes += 1
            else:
                assert found["message"] == "measurement_notify", found
                assert found["body"]["subservice"] == 0
                self.heard.append(Heard(found["body"]["time"], stations_of(found["body"]), now))
        session.leave()


class Wlc:
    """Listens, and has something to tell to every MSE: when it has subscribed, and whenever it asks for an echo, some
    times in all; a context manager.

    Attributes:
        address: where it listens.
        told: what it has told, in all of its sessions.
        TURNS: how often it does in a session.
        failures: what went wrong.
    """

    TURNS = 6

    def __init__(
        self, layout: Layout, writer: type[Writer], certificate: Path, notices: Callable[[], Sequence[Notice]]
    ) -> None:
        """Args:
        notices: the values of measurements to tell, made each time.
        """
        self._layout, self._writer, self._notices = layout, writer, notices
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate)
        self._listener = socket.create_server(("127.77.41.1", 0))
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self.told: list[Notice] = []
        self.failures: list[BaseException] = []
        self.address = "{}:{}".format(*self._listener.getsockname())

    def __enter__(self) -> Wlc:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(PATIENCE_S)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.settimeout(PATIENCE_S)
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            with (
                connection,
                self._context.wrap_socket(connection, server_side=True, suppress_ragged_eofs=False) as tls,
            ):
                self._play(Session(self._layout, self._writer(), tls))
        except BaseException as failure:
            self.failures.append(failure)

    def _play(self, session: Session) -> None:
        session.open("wlc")
        self._tell(session)
        turns = 1
        if self._layout.echo == "wlc":
            session.say("echo_request")
            session.hear("echo_response")
        while (asked := session.next()) is not None:
            assert asked["message"] == "echo_request", asked
            session.say("echo_response", asked["header"]["transaction"])
            if turns < self.TURNS:
                self._tell(session)
            turns += 1
        session.leave()

    def _tell(self, session: Session) -> None:
        notices = self._notices()
        self.told.extend(notices)
        session.notify(notices)
