"""What our own connections send, and send again: read from the kernel, counted once, at a bounded cost."""

from __future__ import annotations

import ctypes
import socket
import struct
import time
from collections.abc import Iterator

import pytest

from loadgen.drive.links import Link
from loadgen.drive.phase import Phase
from loadgen.drive.segments import MOST_AT_ONCE, OF_SHORT_LINKS, SegmentWatch
from loadgen.measure.recorder import Recorder
from loadgen.transport.tcp_info import Segments, parse, segments_of

_PATIENCE_S = 60.0
# Linux's own numbers; Python has no name for the first.
_SO_ATTACH_FILTER, _SO_DETACH_FILTER = 26, 27
_RETURN = 0x06


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two ends of a connection over loopback."""
    with socket.create_server(("127.77.90.1", 0)) as server:
        near = socket.create_connection(server.getsockname())
        far, _ = server.accept()
    near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with near, far:
        yield near, far


def drop_everything(sock: socket.socket) -> None:
    """A filter that lets no segment through to this socket."""
    program = ctypes.create_string_buffer(struct.pack("HBBI", _RETURN, 0, 0, 0))
    sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HL", 1, ctypes.addressof(program)))


def test_the_kernel_counts_what_was_sent(pair: tuple[socket.socket, socket.socket]) -> None:
    near, far = pair
    before = segments_of(near)
    assert before == Segments(0, 0)  # no data yet
    for number in range(1, 21):
        near.sendall(b"one")
        assert far.recv(10) == b"one"
        assert segments_of(near) == Segments(number, 0)
    assert segments_of(far) == Segments(0, 0)  # acknowledgments have no data


def test_and_what_was_sent_again(pair: tuple[socket.socket, socket.socket]) -> None:
    near, far = pair
    drop_everything(far)
    near.sendall(b"lost")
    end = time.monotonic() + _PATIENCE_S
    while (seen := segments_of(near)) is not None and seen.retransmitted < 2:
        assert time.monotonic() < end
        time.sleep(0.01)
    far.setsockopt(socket.SOL_SOCKET, _SO_DETACH_FILTER, 0)
    assert far.recv(10) == b"lost"
    seen = segments_of(near)
    assert seen is not None
    assert seen.sent == 1 + seen.retransmitted >= 3


def test_and_what_was_sent_again_in_vain(pair: tuple[socket.socket, socket.socket]) -> None:
    """The peer has it, and its acknowledgment does not come in time: then it says that it had it already."""
    near, far = pair
    drop_everything(near)
    near.sendall(b"there")
    assert far.recv(10) == b"there"
    end = time.monotonic() + _PATIENCE_S
    while (seen := segments_of(near)) is not None and not seen.retransmitted:
        assert time.monotonic() < end
        time.sleep(0.01)
    near.setsockopt(socket.SOL_SOCKET, _SO_DETACH_FILTER, 0)
    while (seen := segments_of(near)) is not None and not seen.spurious:
        assert time.monotonic() < end
        time.sleep(0.01)
    assert seen is not None
    assert 1 <= seen.spurious <= seen.retransmitted
    # What was lost was not in vain.
    drop_everything(far)
    near.sendall(b"lost")
    while (now := segments_of(near)) is not None and now.retransmitted < seen.retransmitted + 2:
        assert time.monotonic() < end
        time.sleep(0.01)
    assert now is not None
    assert now.spurious == seen.spurious


def test_a_kernel_that_does_not_tell() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        assert segments_of(sock) is None
    assert parse(b"") is None
    assert parse(bytes(104)) is None  # as before Linux 4.6
    info = bytes(100) + struct.pack("=I", 3) + bytes(52) + struct.pack("=I", 40)
    assert parse(info) == Segments(40, 3, 0)  # as before Linux 4.19
    assert parse(info + bytes(56) + struct.pack("=I", 2)) == Segments(40, 3, 2)
    assert parse(info + bytes(56) + struct.pack("=I", 7)) == Segments(40, 3, 3)  # doubled on the way


class FakeTunnel:
    """Of a connection that has sent what a test says."""

    def __init__(self) -> None:
        self.now: Segments | None = Segments(0, 0)
        self.asked = 0

    def segments(self) -> Segments | None:
        self.asked += 1
        return self.now


def links_of(count: int) -> tuple[list[Link], list[FakeTunnel]]:
    links, tunnels = [], []
    for number in range(count):
        link, tunnel = Link(number, Phase.ACTIVE, 0), FakeTunnel()
        link.tunnel = tunnel  # type: ignore[assignment]
        link.endpoint = object()  # type: ignore[assignment]
        links.append(link)
        tunnels.append(tunnel)
    return links, tunnels


def counted(recorder: Recorder) -> tuple[int, ...]:
    return tuple(recorder.counters[f"tcp.segments_{what}"] for what in ("sent", "retransmitted", "spurious"))


def test_what_a_link_has_sent_counts_once() -> None:
    (link, *_), (tunnel, *_) = links_of(1)
    watch = SegmentWatch(recorder := Recorder())
    # That the second was in vain, the peer says later.
    for now in ((10, 1, 0), (10, 1, 0), (30, 4, 1)):
        tunnel.now = Segments(*now)
        watch.look_around([link])
        assert counted(recorder) == now
    tunnel.now = Segments(31, 4, 3)
    watch.ends(link)
    assert counted(recorder) == (31, 4, 3)
    tunnel.now = None
    watch.look_at(link)
    link.tunnel = None
    watch.look_at(link)
    assert counted(recorder) == (31, 4, 3)


def test_of_many_links_some_are_looked_at_each_time_and_all_in_turn() -> None:
    links, tunnels = links_of(2 * MOST_AT_ONCE + 7)
    watch = SegmentWatch(Recorder())
    for asked in (MOST_AT_ONCE, 2 * MOST_AT_ONCE, len(links)):
        watch.look_around(links)
        assert sum(tunnel.asked for tunnel in tunnels) == asked
    assert {tunnel.asked for tunnel in tunnels} == {1}


def test_of_short_links_a_share_is_looked_at() -> None:
    links, tunnels = links_of(10 * OF_SHORT_LINKS)
    watch = SegmentWatch(Recorder())
    for link in links:
        link.endpoint = None
        watch.ends(link)
    assert sum(tunnel.asked for tunnel in tunnels) == 10
