"""A planted MSE: `python -m benchmarks.counterparts.mse --wlc HOST:PORT --read-bytes-per-s 1000000`.

It dials every WLC once, sets the sessions up, prints `ready HOST:PORT` of the first one, and then reads: as fast as
bytes come, or no faster than it is told. When the last session has ended, or at SIGTERM, it prints what it really did
as one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import select
import signal
import socket
import ssl
import time
from array import array
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.counterparts import wire
from benchmarks.counterparts.identity import client_context
from benchmarks.counterparts.lossy import lose_one_in
from benchmarks.counterparts.truth import NS_PER_MS, NS_PER_S, TO_UNIX_NS, duration_ns, summary

_SETUP_S = 30.0
_CHUNK = 65536
_SEGMENT_BYTES = 1460
_TICK_NS = 5 * NS_PER_MS
# What could not be read in time is read later, but no more of it than this: a limit is a limit.
_BURST_NS = 100 * NS_PER_MS


class Session:
    """One session, from the SYN to its end."""

    def __init__(self, mse: Mse, address: tuple[str, int], receive_buffer: int) -> None:
        """Dial and set up, one step after the other."""
        self._mse = mse
        self._stream = wire.Stream()
        self._waiting: list[wire.Frame] = []
        self._expected = 0
        self._echoes: dict[int, int] = {}
        self.open = True
        sock = socket.socket()
        sock.settimeout(_SETUP_S)
        if receive_buffer:
            # Before the window is agreed upon: afterwards it would have no effect on it.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        # Loopback's segments of 64 KiB make the kernel give the sender megabytes of buffer, into which a slow reader's
        # pressure disappears for many seconds; with Ethernet's it has less than 100 KiB.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, _SEGMENT_BYTES)
        sock.connect(address)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.tls = mse.context.wrap_socket(sock)
        self.tls.sendall(wire.version_request(1))
        self._await(wire.VERSION_RESPONSE)
        self._await(wire.CAPABILITY)
        self.tls.sendall(wire.subscribe_request(2, wire.RSSI_MS))
        granted = wire.mask_of(self._await(wire.SUBSCRIBE_RESPONSE).body)
        if granted != wire.RSSI_MS:
            raise wire.Broken(f"granted {granted:#x}")
        self.tls.setblocking(False)
        if mse.lose_segments:
            lose_one_in(self.tls, mse.lose_segments)
        for frame in self._waiting:
            self._on_frame(frame)

    def _await(self, msg_id: int) -> wire.Frame:
        while not self._waiting:
            data = self.tls.recv(self._stream.missing)
            if not data:
                raise wire.Broken(f"closed before message {msg_id}")
            self._waiting = self._stream.feed(data)
        frame = self._waiting.pop(0)
        if frame.msg_id != msg_id:
            raise wire.Broken(f"expected message {msg_id}, found {frame.msg_id}")
        return frame

    def read(self, most: int) -> int:
        """Read what is there, at most so many bytes; how many it were."""
        count = 0
        while self.open and count < most:
            size, _ = self._receive(most - count)  # no more than what is left of a TLS record
            if not size:
                break
            count += size
        return count

    def read_frame(self) -> bool:
        """Read the next frame, if all of it is there, or else as much as there is."""
        while self.open:
            size, whole = self._receive(self._stream.missing)
            if whole or not size:
                return whole
        return False

    def echo(self) -> None:
        """Ask, unless an earlier question is still open."""
        if self._echoes or not self.open:
            return
        transaction = self._mse.truth["echoes"] & 0xFFFFFFFF
        try:
            self.tls.send(wire.frame(wire.ECHO_REQUEST, transaction=transaction))
        except OSError:  # no room: another time
            return
        self._echoes[transaction] = time.monotonic_ns()
        self._mse.truth["echoes"] += 1

    def end(self) -> None:
        """Say goodbye and close."""
        if self.open:
            self.open = False
            try:
                self.tls.unwrap()
            except (OSError, ValueError):
                pass
            finally:
                self.tls.close()

    def _receive(self, most: int) -> tuple[int, bool]:
        try:
            data = self.tls.recv(most)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return 0, False
        except OSError:
            self._mse.truth["sessions_broken"] += 1
            data = b""
        if not data:
            self.end()
            return 0, False
        self._mse.truth["bytes"] += len(data)
        frames = self._stream.feed(data)
        for frame in frames:
            self._on_frame(frame)
        return len(data), bool(frames)

    def _on_frame(self, frame: wire.Frame) -> None:
        mse, now_ns = self._mse, time.monotonic_ns()
        if frame.msg_id == wire.MEASUREMENT_NOTIFY:
            sequence, due_ns, sent_ns, *_ = wire.NOTIFY.unpack_from(frame.body)
            mse.truth["notifications"] += 1
            mse.truth["out_of_sequence"] += sequence != self._expected
            self._expected = sequence + 1
            mse.latencies_ns.append(now_ns + TO_UNIX_NS - due_ns)
            mse.services_ns.append(now_ns + TO_UNIX_NS - sent_ns)
        elif frame.msg_id == wire.ECHO_RESPONSE and frame.transaction in self._echoes:
            mse.rtts_ns.append(now_ns - self._echoes.pop(frame.transaction))
        else:
            mse.truth["unexpected"] += 1


class _Every:
    """Something that is due once in an interval, the first time after one."""

    def __init__(self, interval_ns: int) -> None:
        self._interval_ns = interval_ns
        self._next_ns: int | None = None

    def due(self, now_ns: int) -> bool:
        if self._next_ns is None:
            self._next_ns = now_ns + self._interval_ns
        if now_ns < self._next_ns:
            return False
        self._next_ns += self._interval_ns
        return True


class Mse:
    """All sessions, how fast they are read, and the truth about it."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.context = client_context(options.identity)
        self.lose_segments: int = options.lose_segments
        self.truth: Counter[str] = Counter()
        self.latencies_ns, self.services_ns, self.rtts_ns = array("q"), array("q"), array("q")
        self._options = options
        self._per_second: list[tuple[int, int]] = []
        self._echo, self._second = _Every(options.echo_interval), _Every(NS_PER_S)
        self._stopped = False
        self._leave_ns = 1 << 62
        self._sessions: list[Session] = []

    def dial(self) -> None:
        for address in self._options.wlc:
            self._sessions.append(Session(self, address, self._options.receive_buffer))

    def run(self) -> dict[str, Any]:
        """Read until nothing is left to read; returns the truth."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        started_ns = time.monotonic_ns()
        if self._options.leave_after:
            self._leave_ns = started_ns + self._options.leave_after
        if self._options.read_bytes_per_s:
            self._paced(self._options.read_bytes_per_s, lambda session, most: session.read(most))
        elif self._options.max_notifications_per_s:
            self._paced(self._options.max_notifications_per_s, _read_frames)
        else:
            self._unlimited()
        for session in self._sessions:
            session.end()
        seconds = (time.monotonic_ns() - started_ns) / NS_PER_S
        named = ("bytes", "notifications", "out_of_sequence", "echoes", "unexpected", "sessions_broken")
        return (
            {"sessions": len(self._sessions)}
            | {name: self.truth[name] for name in named}
            | {
                "read_s": seconds,
                "bytes_per_s": self.truth["bytes"] / seconds,
                "notifications_per_s": self.truth["notifications"] / seconds,
                "each_second": self._per_second,  # bytes, notifications
                "latency_ns": summary(self.latencies_ns),
                "service_ns": summary(self.services_ns),
                "echo_ns": summary(self.rtts_ns),
            }
        )

    def _stop(self, *_: object) -> None:
        self._stopped = True

    def _open(self) -> list[Session]:
        if time.monotonic_ns() >= self._leave_ns:
            self._stopped = True
        return [session for session in self._sessions if session.open and not self._stopped]

    def _paced(self, per_s: float, read: Callable[[Session, int], int]) -> None:
        """Read small pieces of all sessions in turn, so that together they make `per_s`."""
        last_ns = time.monotonic_ns()
        allowed, turn = 0.0, 0
        while sessions := self._open():
            time.sleep(_TICK_NS / NS_PER_S)
            now_ns = time.monotonic_ns()
            allowed = min(allowed + per_s * (now_ns - last_ns) / NS_PER_S, per_s * _BURST_NS / NS_PER_S)
            last_ns = now_ns
            self._each_turn(sessions, now_ns)
            # What one session does not have, the next one may; whoever comes first is another one each time.
            turn += 1
            order = sessions[turn % len(sessions) :] + sessions[: turn % len(sessions)]
            for left, session in zip(range(len(order), 0, -1), order, strict=True):
                share = int(allowed / left)
                if share:
                    allowed -= read(session, share)

    def _unlimited(self) -> None:
        poll = select.epoll()
        by_fd = {session.tls.fileno(): session for session in self._sessions}
        for fd in by_fd:
            poll.register(fd, select.EPOLLIN)
        ready = list(by_fd)  # bytes may be waiting inside of TLS
        while sessions := self._open():
            for fd in ready:
                by_fd[fd].read(_CHUNK)
            self._each_turn(sessions, time.monotonic_ns())
            ready = [fd for fd, _ in poll.poll(_TICK_NS / NS_PER_S)] or list(by_fd)
        poll.close()

    def _each_turn(self, sessions: list[Session], now_ns: int) -> None:
        """What is due besides reading: echoes, and a line in the book every second."""
        if self._echo.due(now_ns):
            for session in sessions:
                session.echo()
        if self._second.due(now_ns):
            done = [sum(column) for column in zip(*self._per_second, strict=True)] or [0, 0]
            self._per_second.append((self.truth["bytes"] - done[0], self.truth["notifications"] - done[1]))


def _read_frames(session: Session, most: int) -> int:
    count = 0
    while count < most and session.read_frame():
        count += 1
    return count


def _address(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon:
        raise ValueError(text)
    return host, int(port)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="An MSE with planted behaviour.")
    parser.add_argument("--wlc", type=_address, action="append", required=True, metavar="HOST:PORT")
    parser.add_argument("--identity", type=Path, help="key and certificate (PEM); made if not given")
    parser.add_argument("--echo-interval", type=duration_ns, default=NS_PER_S)
    parser.add_argument("--leave-after", type=duration_ns, default=0, help="close in order after so long; 0: stay")
    parser.add_argument("--lose-segments", type=int, default=0, help="one in so many that come, at random; 0: none")
    parser.add_argument("--receive-buffer", type=int, default=0, help="SO_RCVBUF; 0: the kernel's choice")
    limit = parser.add_mutually_exclusive_group()
    limit.add_argument("--read-bytes-per-s", type=float, default=0.0, help="over all sessions together")
    limit.add_argument("--max-notifications-per-s", type=float, default=0.0, help="the same, counted in frames")
    return parser.parse_args(arguments)


def main() -> None:
    options = parse()
    mse = Mse(options)
    mse.dial()
    print("ready {}:{}".format(*options.wlc[0]), flush=True)
    print(json.dumps(mse.run()), flush=True)


if __name__ == "__main__":
    main()
