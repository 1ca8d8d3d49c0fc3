"""A WLC and an MSE of blocking sockets that know three layouts: heron, stork and wren, from what `profile show` prints.

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
from typing import Any, NamedTuple, Protocol

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


class Writer(Protocol):
    """A frame, from the values of its fields; `stations` of a measurement, which layouts with one place have one of."""

    def __call__(self, message: str, transaction: int = 0, **values: Any) -> bytes: ...


# -- frames ------------------------------------------------------------------------------------------------------------


def heron(message: str, transaction: int = 0, **values: Any) -> bytes:
    body = b""
    if message == "version_request":
        number, body = 16, struct.pack(">HH", values["lowest"], values["highest"])
    elif message == "version_response":
        number, body = 32784, struct.pack(">HH", values["version"], values["status"])
    elif message == "capability":
        number, body = 32785, struct.pack(">Q", values["subservices"])
    elif message == "subscribe_request":
        number, body = 18, struct.pack(">Q", values["subservices"])
    elif message == "subscribe_response":
        number, body = 32786, struct.pack(">QH", values["subservices"], values["status"])
    elif message == "measurement_notify":
        ((mac, readings),) = values["stations"]
        seconds, rest = divmod(values["time_ns"], 10**9)
        head = struct.pack(">II6sBB", seconds, rest // 1000, mac, values["subservice"], len(readings))
        number, body = (
            16385,
            head
            + b"".join(
                struct.pack(">6sBBbbbBI", r.ap_mac, r.slot, r.band, r.rssi_a, r.rssi_b, r.snr, r.source, r.age_s)
                for r in readings
            ),
        )
    else:
        number = {"echo_request": 1, "echo_response": 32769}[message]
    frame = struct.pack(">HBBHII", 0xC0DE, 3, 0, number, 14 + len(body) + 4, transaction) + body
    return frame + struct.pack(">I", zlib.crc32(frame))


_STORK = {  # flags, msg_type, msg_subtype
    "version_request": (0x01, 1, 0x01),
    "version_response": (0x02, 1, 0x02),
    "capability": (0x02, 1, 0x03),
    "subscribe_request": (0x01, 1, 0x04),
    "subscribe_response": (0x02, 1, 0x05),
    "echo_request": (0x01, 1, 0xFE),
    "echo_response": (0x82, 1, 0xFF),
    "measurement_notify": (0x04, 2, 0x01),
}


def stork(message: str, transaction: int = 0, **values: Any) -> bytes:
    body = b""
    if message == "version_request":
        body = struct.pack(">BB", values["lowest"], values["highest"])
    elif message == "version_response":
        body = struct.pack(">BB", values["status"], values["version"])
    elif message in ("capability", "subscribe_request"):
        body = struct.pack(">Q", values["subservices"])
    elif message == "subscribe_response":
        body = struct.pack(">BQ", values["status"], values["subservices"])
    elif message == "measurement_notify":
        body = struct.pack(">QBB", values["time_ns"], values["subservice"], len(values["stations"]))
        for mac, readings in values["stations"]:
            body += struct.pack(">6sH", mac, 14 * len(readings)) + b"".join(
                struct.pack(">6sBBBbbbH", r.ap_mac, r.slot, r.band, r.source, r.rssi_a, r.rssi_b, r.snr, r.age_s)
                for r in readings
            )
    return struct.pack(">BBBBII", 1, *_STORK[message], transaction, len(body)) + body


_WREN = {
    "version_request": 1,
    "version_response": 2,
    "capability": 3,
    "subscribe_request": 4,
    "subscribe_response": 5,
    "echo_request": 6,
    "echo_response": 7,
    "measurement_notify": 16,
}


def wren(message: str, transaction: int = 0, **values: Any) -> bytes:
    elements: list[tuple[int, bytes]] = []
    for name, number, kind in (
        ("lowest", 1, "<B"), ("highest", 2, "<B"), ("status", 3, "<B"), ("version", 4, "<B"), ("subservices", 5, "<Q"),
        ("subservice", 17, "<B"),
    ):  # fmt: skip
        if name in values:
            elements.append((number, struct.pack(kind, values[name])))
    if message == "measurement_notify":
        ((mac, readings),) = values["stations"]
        elements += [(16, mac), (18, struct.pack("<I", values["time_ns"] // 10**9))]
        elements += [
            (32, struct.pack("<bbbB6sBBH", r.rssi_a, r.rssi_b, r.snr, r.source, r.ap_mac, r.slot, r.band, r.age_s))
            for r in readings
        ]
    body = b"".join(bytes((number, len(value))) + value for number, value in elements)
    return struct.pack("<BHBHB", 0xA5, 4 + len(body), _WREN[message], transaction, 0) + body


WRITERS: dict[str, Writer] = {"heron": heron, "stork": stork, "wren": wren}


# -- sessions ----------------------------------------------------------------------------------------------------------


class Heard(NamedTuple):
    """A measurement notification: when it was due, its stations, and when it came; times in ns since 1970."""

    time_ns: int
    stations: tuple[Station, ...]
    received_ns: int


class Session:
    """One end of a tunnel."""

    def __init__(self, layout: Layout, writer: Writer, tls: ssl.SSLSocket) -> None:
        self._layout, self._writer, self._tls = layout, writer, tls
        self._data = b""

    def say(self, message: str, transaction: int = 0, **values: Any) -> None:
        self._tls.sendall(self._writer(message, transaction, **values))

    def notify(self, notices: Sequence[dict[str, Any]]) -> None:
        """All at once."""
        self._tls.sendall(b"".join(self._writer("measurement_notify", **values) for values in notices))

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
        echoes: how many of its echo requests were answered.
        failure: what went wrong.
    """

    def __init__(self, layout: Layout, writer: Writer, address: tuple[str, int], identity: Path) -> None:
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
                    self._play(Session(self._layout, self._writer, tls))
        except BaseException as failure:
            self.failure = failure

    def _play(self, session: Session) -> None:
        session.say("version_request", 7, lowest=VERSION, highest=VERSION)
        answer = session.hear("version_response")
        assert answer["header"]["transaction"] == 7
        assert (answer["body"]["version"], answer["body"]["status"]) == (VERSION, 0)
        assert session.hear("capability")["body"]["subservices"] & RSSI_MS
        session.say("subscribe_request", 8, subservices=RSSI_MS)
        answer = session.hear("subscribe_response")
        assert answer["header"]["transaction"] == 8
        assert (answer["body"]["subservices"], answer["body"]["status"]) == (RSSI_MS, 0)
        session.say("echo_request", 9)
        while (found := session.next()) is not None:
            now = time.time_ns()
            if found["message"] == "echo_response":
                assert found["header"]["transaction"] == 9
                self.echoes += 1
                continue
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
        self, layout: Layout, writer: Writer, certificate: Path, notices: Callable[[], Sequence[dict[str, Any]]]
    ) -> None:
        """Args:
        notices: the values of measurements to tell, made each time.
        """
        self._layout, self._writer, self._notices = layout, writer, notices
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate)
        self._listener = socket.create_server(("127.77.41.1", 0))
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self.told: list[dict[str, Any]] = []
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
                self._play(Session(self._layout, self._writer, tls))
        except BaseException as failure:
            self.failures.append(failure)

    def _play(self, session: Session) -> None:
        asked = session.hear("version_request")
        assert asked["body"]["lowest"] <= VERSION <= asked["body"]["highest"]
        session.say("version_response", asked["header"]["transaction"], version=VERSION, status=0)
        session.say("capability", subservices=RSSI_MS)
        asked = session.hear("subscribe_request")
        granted = asked["body"]["subservices"] & RSSI_MS
        session.say("subscribe_response", asked["header"]["transaction"], subservices=granted, status=0)
        self._tell(session)
        turns = 1
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
