"""A plain Locust user that receives NMSP: what one would use instead of loadgen, to compare loadgen with.

Every user is an MSE. It connects to a WLC with TLS 1.2 and a client certificate, sets a session up after the reference
wire profile (docs/wire-profile.md), and then receives measurement notifications until the test ends: it decodes each,
checks its sequence number, and fires Locust's request event with its latency (received - due).

    NMSP_TARGETS=127.0.1.1:16113,127.0.1.2:16113 NMSP_CERT=mse.pem NMSP_KEY=mse.pem NMSP_OUTPUT=peer.json \\
      locust -f benchmarks/peers/locust_user.py --headless --only-summary -u 100 -r 100 -t 15s

Environment, all of it required:

    NMSP_TARGETS  WLCs, host:port, separated by commas; user n dials target n modulo their number
    NMSP_CERT     PEM file with the client's certificate
    NMSP_KEY      PEM file with its private key
    NMSP_OUTPUT   where one line of JSON is written when the test stops

JSON: `received` and `lost` are totals; `samples` has a row for about every second: monotonic clock (ns), notifications
received so far, CPU time of this process so far (s, user and system), and how many users had subscribed.
"""

from __future__ import annotations

import itertools
import json
import os
import socket
import ssl
import struct
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import gevent
from locust import User, events, task
from locust.exception import StopUser

# Magic, flags and msg_id of a frame, read as one number.
VERSION_REQUEST, VERSION_RESPONSE, CAPABILITY = 0x4E000001, 0x4E000002, 0x4E000003
SUBSCRIBE_REQUEST, SUBSCRIBE_RESPONSE, ECHO_REQUEST, NOTIFY = 0x4E000004, 0x4E000005, 0x4E000006, 0x4E000010
MAGIC = 0x4E00

HEADER = struct.Struct(">III")  # kind, length, transaction
# Header and fixed fields at once: kind, length, sequence, due_ns, sent_ns, subservice, reading_count.
NOTIFICATION = struct.Struct(">II4xQQQ6xBB")
READING_BYTES, MAX_READINGS = 14, 16
MAX_FRAME_BYTES = 65536
MAX_RECORD_BYTES = 16384  # of TLS: a read returns one at most
RSSI_MS = 1 << 0
ECHO_INTERVAL_NS = 5_000_000_000
# A socket that always has more would never let other users run: they get their turn after so many reads.
READS_PER_TURN = 32

if missing := [n for n in ("NMSP_TARGETS", "NMSP_CERT", "NMSP_KEY", "NMSP_OUTPUT") if not os.environ.get(n)]:
    raise SystemExit(f"locust_user.py: not set in the environment: {', '.join(missing)}")
TARGETS = [target.strip().rsplit(":", 1) for target in os.environ["NMSP_TARGETS"].split(",")]
CONTEXT = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
CONTEXT.minimum_version = CONTEXT.maximum_version = ssl.TLSVersion.TLSv1_2
CONTEXT.check_hostname = False
CONTEXT.verify_mode = ssl.CERT_NONE  # a WLC's certificate is self-signed
try:
    CONTEXT.load_cert_chain(os.environ["NMSP_CERT"], os.environ["NMSP_KEY"])
except OSError as error:
    raise SystemExit(f"locust_user.py: cannot use NMSP_CERT and NMSP_KEY: {error}") from None


class Tally:
    """What all users received so far."""

    subscribed = received = lost = 0


tally = Tally()
samples: list[tuple[int, int, float, int]] = []
numbers = itertools.count()


def take_samples() -> None:
    while True:
        samples.append((time.monotonic_ns(), tally.received, time.process_time(), tally.subscribed))
        gevent.sleep(1.0)


@events.test_start.add_listener
def on_test_start(**_: Any) -> None:
    gevent.spawn(take_samples)


@events.test_stop.add_listener
def on_test_stop(**_: Any) -> None:
    figures = {"received": tally.received, "lost": tally.lost, "samples": samples}
    Path(os.environ["NMSP_OUTPUT"]).write_text(json.dumps(figures) + "\n")


class MseUser(User):
    """One session of an MSE with a WLC."""

    sock: ssl.SSLSocket | None = None

    @task
    def session(self) -> None:
        """From connecting to the end of the connection or of the test; a user has one session only."""
        try:
            self.set_up()
            self.receive()
        except (OSError, struct.error) as error:
            self.environment.events.request.fire(
                request_type="NMSP", name="session", response_time=0, response_length=0, exception=error, context={}
            )
        raise StopUser

    def set_up(self) -> None:
        """Connect and subscribe."""
        host, port = TARGETS[next(numbers) % len(TARGETS)]
        self.sock = sock = CONTEXT.wrap_socket(socket.create_connection((host, int(port)), timeout=10.0))
        sock.sendall(struct.pack(">IIIHH", VERSION_REQUEST, 16, 1, 1, 1))
        if struct.unpack(">HH", self.expect(VERSION_RESPONSE, 1)) != (1, 0):
            raise ConnectionError("version 1 was refused")
        self.expect(CAPABILITY, 0)
        sock.sendall(struct.pack(">IIIQ", SUBSCRIBE_REQUEST, 20, 2, RSSI_MS))
        if struct.unpack(">QH2x", self.expect(SUBSCRIBE_RESPONSE, 2)) != (RSSI_MS, 0):
            raise ConnectionError("rssi-ms was not granted")
        sock.settimeout(None)
        tally.subscribed += 1

    def expect(self, kind: int, transaction: int) -> bytes:
        """The body of the next frame, which must be this one."""
        found, length, number = HEADER.unpack(self.read_exactly(HEADER.size))
        if found != kind or number != transaction:
            raise ConnectionError(f"expected {kind:#x} number {transaction}, found {found:#x} number {number}")
        return self.read_exactly(length - HEADER.size)

    def read_exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            if not (chunk := self.sock.recv(size - len(data))):
                raise ConnectionError("the WLC closed the connection")
            data += chunk
        return data

    def receive(self) -> None:
        """Receive notifications until the WLC closes."""
        # Frames are read in place. What a read left of a frame is moved to the front. Behind the end there is room to
        # unpack a whole notification wherever a header is: its fields count only if the frame is whole.
        header_bytes, fixed_bytes, unpack = HEADER.size, NOTIFICATION.size, NOTIFICATION.unpack_from
        buffer = bytearray(MAX_FRAME_BYTES + MAX_RECORD_BYTES + fixed_bytes)
        view = memoryview(buffer)
        read, time_ns = self.sock.read, time.time_ns  # SSLSocket.recv_into does the same, one call further away
        fire, context = self.environment.events.request.fire, self.context()
        tail = expected = 0
        echo_at = time_ns() + ECHO_INTERVAL_NS
        while True:
            for _ in range(READS_PER_TURN):
                size = read(MAX_RECORD_BYTES, view[tail:] if tail else view)
                if not size:
                    return
                now = time_ns()
                end = tail + size
                position = count = 0
                while end - position >= header_bytes:
                    kind, length, sequence, due_ns, _sent_ns, _subservice, readings = unpack(buffer, position)
                    if position + length > end and length <= MAX_FRAME_BYTES:
                        break
                    if kind == NOTIFY:
                        if length != fixed_bytes + READING_BYTES * readings or readings > MAX_READINGS:
                            raise ConnectionError(f"malformed notification: {length} bytes, {readings} readings")
                        if sequence != expected:
                            tally.lost += max(sequence - expected, 0)
                        expected = sequence + 1
                        count += 1
                        fire(
                            request_type="NMSP",
                            name="measurement notify",
                            response_time=(now - due_ns) / 1e6,
                            response_length=length,
                            exception=None,
                            context=context,
                        )
                    elif kind >> 16 != MAGIC or not header_bytes <= length <= MAX_FRAME_BYTES:
                        raise ConnectionError(f"no frame: {kind:#x}, {length} bytes")
                    position += length
                tail = end - position
                if tail:
                    view[:tail] = view[position:end]
                tally.received += count
                if now >= echo_at:
                    echo_at = now + ECHO_INTERVAL_NS
                    self.sock.sendall(HEADER.pack(ECHO_REQUEST, header_bytes, 0))
            gevent.sleep(0)

    def on_stop(self) -> None:
        """Say goodbye, as far as that is possible within a second, and close."""
        if self.sock is not None:
            with suppress(OSError):
                self.sock.settimeout(1.0)
                self.sock.unwrap()
            self.sock.close()
            self.sock = None
