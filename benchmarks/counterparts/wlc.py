"""A planted WLC: `python -m benchmarks.counterparts.wlc --rate 500 --delay 5ms --duration 10s`.

It prints `ready HOST:PORT`, serves until SIGTERM or until `--sessions` sessions have had their `--duration`, and prints
what it really did as one line of JSON. Every session has its own schedule, which begins `--start-after` after its
subscription.
"""

from __future__ import annotations

import argparse
import json
import socket
import time
from array import array
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchmarks.counterparts import wire
from benchmarks.counterparts.identity import server_context
from benchmarks.counterparts.loop import READ, Connection, Loop
from benchmarks.counterparts.planned import Faults, Pauses, slots
from benchmarks.counterparts.truth import NS_PER_S, TO_UNIX_NS, duration_ns, offset_ns, summary

_BACKLOG = 4096
# So many bytes go into one write when the sender catches up.
_WRITE_BYTES = 16384
_COUNTED = (
    *(
        "accepted",
        "closed",
        "handshakes",
        "handshakes_delayed",
        "handshakes_queued",
        "most_sessions",
        "refused",
        "subscribed",
    ),
    *("ended", "sent", "lost", "duplicated", "swapped", "echoes", "broken"),
)


class Session(Connection):
    """One MSE at the WLC: waits its turn to shake hands, sets up, and is told what is due."""

    def __init__(self, wlc: Wlc, sock: socket.socket, number: int) -> None:
        super().__init__(wlc.loop, sock, wlc.context)
        self._wlc = wlc
        self._number = number
        self._stream = wire.Stream()
        self._slots = slots(wlc.faults, wlc.count)
        self._next = 0  # slot
        self._start_ns = 0
        self.loop.watch(sock, READ, self._asked)

    def _asked(self) -> None:
        """The client's first bytes are there: from here on it waits for us."""
        self.loop.unwatch(self._sock)
        if self._wlc.closes(self._number):
            self.drop()
            return
        turn_ns = self._wlc.turn_ns(self._number)
        if turn_ns > time.monotonic_ns():
            self.loop.at(turn_ns, self._begin)
        else:
            self._begin()

    def _begin(self) -> None:
        if not self.closed:
            self.handshake()

    def on_up(self) -> None:
        self._wlc.on_up(self)

    def on_closed(self) -> None:
        self._wlc.on_closed(self)

    def on_data(self, data: bytes) -> None:
        try:
            for each in self._stream.feed(data):
                self._on_frame(each)
        except wire.Broken:
            self._wlc.truth["broken"] += 1
            self.drop()

    def _on_frame(self, frame: wire.Frame) -> None:
        wlc = self._wlc
        match frame.msg_id:
            case wire.VERSION_REQUEST:
                self.write(wire.version_response(frame.transaction) + wire.capability(wire.RSSI_MS))
            case wire.SUBSCRIBE_REQUEST:
                granted = wire.mask_of(frame.body) & wire.RSSI_MS
                self.write(wire.subscribe_response(frame.transaction, granted))
                wlc.truth["subscribed"] += 1
                if wlc.rate and granted:
                    self._start_ns = time.monotonic_ns() + wlc.start_after_ns
                    wlc.begin(self._start_ns)
                    self.loop.at(self._start_ns + wlc.late_by_ns, self._send_due)
            case wire.ECHO_REQUEST:
                asked_ns = time.monotonic_ns()
                answer = wire.frame(wire.ECHO_RESPONSE, transaction=frame.transaction)
                answered_ns = wlc.released_ns(asked_ns) + wlc.delay_ns
                if answered_ns > asked_ns:
                    self.loop.at(answered_ns, lambda: self._answer(answer, asked_ns))
                else:
                    self._answer(answer, asked_ns)
            case other:
                raise wire.Broken(f"message {other} from an MSE")

    def _answer(self, answer: bytes, asked_ns: int) -> None:
        self._wlc.truth["echoes"] += 1
        self._wlc.echoes_ns.append(time.monotonic_ns() - asked_ns)
        self.write(answer)

    # -- notifications -------------------------------------------------------------------------------------------

    def _due_ns(self, number: int) -> int:
        return self._start_ns + int(number * NS_PER_S / self._wlc.rate)

    def _send_due(self) -> None:
        """Write everything whose time has come, and come back for the next."""
        wlc, out = self._wlc, bytearray()
        while not self.closed:
            if wlc.count is not None and self._next >= wlc.count:
                self.write(bytes(out))
                self.close()
                return
            released_ns = wlc.released_ns(self._due_ns(self._next))
            if released_ns + wlc.late_by_ns > time.monotonic_ns():
                self.loop.at(released_ns + wlc.late_by_ns, self._send_due)
                break
            slot = next(self._slots)
            self._next += 1
            wlc.truth[slot.fault] += 1
            for number in slot.numbers:
                out += self._notification(number, released_ns)
            if len(out) >= _WRITE_BYTES:
                self.write(bytes(out))
                out.clear()
        self.write(bytes(out))

    def _notification(self, number: int, released_ns: int) -> bytes:
        wlc, due_ns, now_ns = self._wlc, self._due_ns(number), time.monotonic_ns()
        # With a delay it claims to have been sent at once: the delay is then the network's, or nobody's who says so.
        sent_ns = released_ns if wlc.late_by_ns else now_ns
        wlc.truth["sent"] += 1
        wlc.latencies_ns.append(now_ns - due_ns)
        wlc.services_ns.append(now_ns - sent_ns)
        wlc.late_ns.append(now_ns - released_ns - wlc.late_by_ns)
        return wire.notify(number, wlc.told(due_ns), wlc.told(sent_ns), wlc.readings)


class Wlc:
    """The server, its limits, and the truth about what it did."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.loop = Loop()
        self.context = server_context(options.identity, options.trust)
        self.rate: float = options.rate
        self.readings: int = options.readings
        self.count = None if options.duration is None else round(options.rate * options.duration / NS_PER_S)
        self.start_after_ns: int = options.start_after
        self.delay_ns: int = options.delay
        self.late_by_ns: int = options.delay + options.hold  # notifications
        self.faults = Faults(options.lose, options.duplicate, options.swap)
        self.truth: Counter[str] = Counter()
        # From the due time, and from the time of sending that is claimed, to the write; and how late the write was.
        self.latencies_ns, self.services_ns, self.late_ns = array("q"), array("q"), array("q")
        self.echoes_ns = array("q")  # from question to answer
        self._pauses = Pauses(options.pause, options.pause_every)
        self._options = options
        self._began_ns: int | None = None
        self._turn_ns = 0
        self._up: set[Session] = set()
        self._listener = socket.create_server((options.host, options.port), backlog=_BACKLOG)
        self._listener.setblocking(False)
        self.address: tuple[str, int] = self._listener.getsockname()

    def run(self) -> dict[str, Any]:
        """Serve; returns the truth."""
        self.loop.watch(self._listener, READ, self._accept)
        self.loop.run()
        self._listener.close()
        return {name: self.truth[name] for name in _COUNTED} | {
            "frame_bytes": len(wire.notify(0, 0, 0, self.readings)),
            "latency_ns": summary(self.latencies_ns),
            "service_ns": summary(self.services_ns),
            "late_ns": summary(self.late_ns),
            "echo_ns": summary(self.echoes_ns),
        }

    def begin(self, start_ns: int) -> None:
        """The first session's schedule is where pauses are counted from."""
        if self._began_ns is None:
            self._began_ns = start_ns

    def released_ns(self, due_ns: int) -> int:
        """When it does what is due then: at once, or after the pause that it falls into."""
        if self._began_ns is None or due_ns < self._began_ns:
            return due_ns
        return self._began_ns + self._pauses.released(due_ns - self._began_ns)

    def told(self, time_ns: int) -> int:
        """A monotonic time as its clock has it: ns since the epoch."""
        assert self._began_ns is not None
        options, since_ns = self._options, time_ns - self._began_ns
        return time_ns + TO_UNIX_NS + options.clock_offset + int(since_ns * options.clock_drift / 1e6)

    def turn_ns(self, number: int) -> int:
        """When accepted connection `number` (1, 2, ...) may shake hands."""
        turn_ns = time.monotonic_ns()
        options = self._options
        if options.max_handshakes_per_s:
            # One server, one queue without an end: everybody takes as long, one after the other.
            self.truth["handshakes_queued"] += self._turn_ns > turn_ns
            turn_ns = self._turn_ns = max(turn_ns, self._turn_ns) + int(NS_PER_S / options.max_handshakes_per_s)
        if options.handshake_every and number % options.handshake_every == 0:
            # It waits by itself: the next one in the queue does not.
            self.truth["handshakes_delayed"] += 1
            turn_ns += options.handshake_delay
        return turn_ns

    def closes(self, number: int) -> bool:
        """Whether accepted connection `number` is closed instead of answered; in the middle of every so many."""
        every = self._options.close_every
        closed = bool(every) and number % every == every // 2
        self.truth["closed"] += closed
        return closed

    def on_up(self, session: Session) -> None:
        self.truth["handshakes"] += 1
        if self._options.max_sessions and len(self._up) >= self._options.max_sessions:
            self.truth["refused"] += 1
            session.close()
            return
        self._up.add(session)
        self.truth["most_sessions"] = max(self.truth["most_sessions"], len(self._up))

    def on_closed(self, session: Session) -> None:
        if session in self._up:
            self._up.remove(session)
            self.truth["ended"] += 1
        if self.count and self.truth["ended"] >= self._options.sessions and not self._up:
            self.loop.stopped = True

    def _accept(self) -> None:
        with suppress(BlockingIOError):
            while True:
                sock, _ = self._listener.accept()
                sock.setblocking(False)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self.truth["accepted"] += 1
                Session(self, sock, self.truth["accepted"])


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="A WLC with planted behaviour.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0: the kernel chooses")
    parser.add_argument("--identity", type=Path, help="key and certificate (PEM); made if not given")
    parser.add_argument("--trust", type=Path, help="ask clients for a certificate: one of these (PEM)")
    load = parser.add_argument_group("notifications of each session")
    load.add_argument("--rate", type=float, default=0.0, help="per second; 0: none")
    load.add_argument("--readings", type=int, default=4)
    load.add_argument("--start-after", type=duration_ns, default=0, help="the subscription")
    load.add_argument("--duration", type=duration_ns, help="of the schedule, after which the session is closed")
    load.add_argument("--sessions", type=int, default=1, help="end when so many have ended, and none is left")
    planted = parser.add_argument_group("planted")
    planted.add_argument("--delay", type=duration_ns, default=0, help="from due to written; also of echo answers")
    planted.add_argument("--hold", type=duration_ns, default=0, help="the same, but echoes are answered at once")
    planted.add_argument("--pause", type=duration_ns, default=0, help="it stands still for so long ...")
    planted.add_argument("--pause-every", type=duration_ns, default=10 * NS_PER_S, help="... once in so long")
    for fault in ("lose", "duplicate", "swap"):
        planted.add_argument(f"--{fault}", type=int, default=0, metavar="N", help="every N-th notification")
    planted.add_argument("--clock-offset", type=offset_ns, default=0, help="ahead of this machine's; behind: -2s")
    planted.add_argument("--clock-drift", type=float, default=0.0, metavar="PPM", help="what it gains; loses: below 0")
    planted.add_argument("--handshake-delay", type=duration_ns, default=0, help="of every N-th connection")
    planted.add_argument("--handshake-every", type=int, default=0, metavar="N")
    planted.add_argument("--close-every", type=int, default=0, metavar="N", help="every N-th connection, unanswered")
    planted.add_argument("--max-handshakes-per-s", type=float, default=0.0, help="one after the other; 0: no limit")
    planted.add_argument("--max-sessions", type=int, default=0, help="more are closed after TLS; 0: no limit")
    options = parser.parse_args(arguments)
    if options.pause * 2 > options.pause_every:
        parser.error("--pause: expected at most half of --pause-every")
    return options


def main() -> None:
    wlc = Wlc(parse())
    print("ready {}:{}".format(*wlc.address), flush=True)
    print(json.dumps(wlc.run()), flush=True)


if __name__ == "__main__":
    main()
