"""What the transport over datagrams does with trio, OpenSSL and the kernel, each by itself."""

from __future__ import annotations

import contextlib
import socket
import time
from datetime import UTC, datetime

import pytest
import trio
from OpenSSL import SSL

from loadgen.identity.credentials import new_key, self_signed
from loadgen.transport import trio_dtls
from loadgen.transport.contexts import client_context, server_context
from loadgen.transport.dtls import (
    MAX_RECORD_OVERHEAD_BYTES,
    Association,
    DatagramContext,
    dial,
    dropped_by_kernel,
    endpoint_of,
    listen,
)
from loadgen.transport.tls import EndOfStream, TransportFault
from loadgen.transport.trace import Happening, Observer, TraceEvent
from loadgen.transport.verifying import Ruling, observed
from loadgen.units import NS_PER_S

_IDENTITY = self_signed("02:57:4c:00:00:01", new_key("p256"), datetime.now(UTC))
_MTU = 1500
PATIENCE_S = 30


def _contexts() -> tuple[SSL.Context, SSL.Context]:
    pems = (_IDENTITY.key_pem, _IDENTITY.certificate_pem, b"", "1.2")
    return server_context(*pems, None, make=DatagramContext), client_context(*pems, None, make=DatagramContext)


class _Echo:
    """A server that shakes hands and returns what it gets."""

    def __init__(self, host: str, server: SSL.Context, retransmit_s: float = 1) -> None:
        self.endpoint = endpoint_of(listen((host, 0)))
        self.address = self.endpoint.socket.getsockname()[:2]
        self._context, self._retransmit_s = server, retransmit_s
        self._ended, self.ended = trio.open_memory_channel[str](10)
        self.channels: list[trio.DTLSChannel] = []

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        await self.endpoint.serve(self._context, self._answer, task_status=task_status)

    async def _answer(self, channel: trio.DTLSChannel) -> None:
        association = Association(channel, _MTU)
        self.channels.append(channel)
        try:
            await association.handshake(PATIENCE_S, self._retransmit_s)
            while True:
                data = await association.receive()
                async with association.sending:
                    await association.send(data)
        except TransportFault as fault:
            self._ended.send_nowait(fault.kind)
        finally:
            association.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_many_associations_with_one_context_a_side(host: str) -> None:
    """pyOpenSSL lets nobody change a context that was used; trio does so for every association."""
    server, client = _contexts()
    headers = 28 if host == "127.0.0.1" else 48

    async def main() -> None:
        echo = _Echo(host, server)
        async with trio.open_nursery() as nursery:
            await nursery.start(echo.run)
            for number in range(5):
                channel = dial(echo.address, client)
                association = Association(channel, _MTU)
                with trio.fail_after(PATIENCE_S):
                    await association.handshake(PATIENCE_S, 1)
                    assert _MTU - headers - MAX_RECORD_OVERHEAD_BYTES <= association.most_bytes < _MTU - headers
                    data = b"%d" % number * association.most_bytes
                    async with association.sending:
                        await association.send(memoryview(data))
                    assert await association.receive() == data
                    await association.say_goodbye()
                    assert await echo.ended.receive() == "closed"
                association.close()
                channel.endpoint.close()
            nursery.cancel_scope.cancel()
        echo.endpoint.close()

    trio.run(main)


def test_what_comes_after_openssl_s_own_patience_is_answered() -> None:
    """It says its flight again then, and its last one behind that: trio took both for the first, and sent neither, now
    and whenever it was asked. The client never came in.
    """
    server, client = _contexts()

    async def main() -> None:
        echo = _Echo("127.0.0.1", server, retransmit_s=PATIENCE_S)
        front, back = (trio.socket.socket(type=trio.socket.SOCK_DGRAM) for _ in range(2))
        await front.bind(("127.0.0.1", 0))
        await back.connect(echo.address)
        clients: list[tuple[str, int]] = []

        async def to_server() -> None:
            while True:
                packet, address = await front.recvfrom(2000)
                clients.append(address)
                if packet[0] == 22 and packet[13] != 1:  # the client's last flight
                    connection = trio_dtls.connection_of(echo.channels[0])
                    while connection.DTLSv1_get_timeout() != 0:  # noqa: ASYNC110 - OpenSSL's clock sets no event
                        await trio.sleep(0.01)
                await back.send(packet)

        async def to_client() -> None:
            while True:
                await front.sendto(await back.recv(2000), clients[-1])

        async with trio.open_nursery() as nursery:
            await nursery.start(echo.run)
            nursery.start_soon(to_server)
            nursery.start_soon(to_client)
            channel = dial(front.getsockname(), client)
            association = Association(channel, _MTU)
            await association.handshake(PATIENCE_S, PATIENCE_S)
            async with association.sending:
                await association.send(memoryview(b"heard"))
            with trio.fail_after(PATIENCE_S):
                assert await association.receive() == b"heard"
            association.close()
            channel.endpoint.close()
            nursery.cancel_scope.cancel()
        for end in (front, back, echo.endpoint):
            end.close()

    trio.run(main)


def test_a_last_flight_that_took_longer_than_patience_is_sent_and_what_comes_then_is_heard() -> None:
    """trio's patience with the flight before is over by then, and would cut the sending short: the client never came
    in, or its first datagram was left in OpenSSL until the next one came.
    """
    pems = (_IDENTITY.key_pem, _IDENTITY.certificate_pem, b"", "1.2")
    retransmit_s = 0.05

    def slow(*_: object) -> Ruling:
        time.sleep(2 * retransmit_s)  # a thread that stands still, and nobody waits for it
        return Ruling()

    server = server_context(*pems, slow, make=DatagramContext)

    async def main() -> None:
        echo = _Echo("127.0.0.1", server, retransmit_s)
        async with trio.open_nursery() as nursery:
            await nursery.start(echo.run)
            channel = dial(echo.address, _contexts()[1])
            association = Association(channel, _MTU)
            with trio.fail_after(PATIENCE_S):
                await association.handshake(PATIENCE_S, PATIENCE_S)
                for data in (b"one", b"two"):
                    async with association.sending:
                        await association.send(data)
                    assert await association.receive() == data
            association.close()
            channel.endpoint.close()
            nursery.cancel_scope.cancel()
        echo.endpoint.close()

    trio.run(main)


def test_a_goodbye_ends_the_other_side_in_order() -> None:
    server, client = _contexts()

    async def main() -> None:
        endpoint = endpoint_of(listen(("127.0.0.1", 0)))

        async def leave(channel: trio.DTLSChannel) -> None:
            association = Association(channel, _MTU)
            await association.handshake(PATIENCE_S, 1)
            await association.say_goodbye()
            await association.say_goodbye()  # says nothing more
            association.close()

        async with trio.open_nursery() as nursery:
            await nursery.start(endpoint.serve, server, leave)
            channel = dial(endpoint.socket.getsockname(), client)
            association = Association(channel, _MTU)
            with trio.fail_after(PATIENCE_S):
                await association.handshake(PATIENCE_S, 1)
                with pytest.raises(EndOfStream) as end:
                    await association.receive()
            assert end.value.orderly
            association.close()
            channel.endpoint.close()
            nursery.cancel_scope.cancel()
        endpoint.close()

    trio.run(main)


def test_the_kernel_tells_what_it_threw_away() -> None:
    """What was sent is what can be read, and what was dropped: a full receive buffer is never silent."""

    async def main() -> None:
        sock = listen(("127.0.0.1", 0))
        assert (
            sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) > 1 << 17
        )  # more than Linux's default, doubled or not
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        with socket.socket(type=socket.SOCK_DGRAM) as sender:
            for _ in range(200):
                sender.sendto(bytes(500), sock.getsockname())
        endpoint = endpoint_of(sock)
        dropped = dropped_by_kernel(endpoint)
        came = 0
        with contextlib.suppress(BlockingIOError):  # over loopback, what came is there at once
            while sock.recv(65536):
                came += 1
        assert 0 < dropped < 200
        assert dropped + came == 200
        endpoint.close()

    trio.run(main)


class _Slow:
    """A deliberation that notes what it is told, and how long it takes."""

    def __init__(self, wait_s: float, poll_tick_s: float = 0.0) -> None:
        self.poll_tick_s = poll_tick_s
        self.events: list[str] = []
        self.wait_ns = round(wait_s * NS_PER_S)

    def asked(self, _ruling: Ruling) -> None:
        self.events.append("asked")

    def answered(self, _ruling: Ruling) -> None:
        self.events.append("answered")


def _deliberated(
    slow: _Slow, refusal: str | None, timeout_s: float = PATIENCE_S, observer: Observer | None = None
) -> list[str]:
    """Shake hands with a server that takes its time; both send again much faster than that. Returns what happened."""
    pems = (_IDENTITY.key_pem, _IDENTITY.certificate_pem, b"", "1.2")
    check = observed(lambda *_: Ruling(refusal, wait_ns=slow.wait_ns))
    server = server_context(*pems, check, make=DatagramContext)
    _, client = _contexts()

    async def end_of(association: Association, side: str, timeout_s: float) -> None:
        try:
            await association.handshake(timeout_s, 0.01)
            slow.events.append(f"{side}: up")
        except TransportFault as fault:
            slow.events.append(f"{side}: {fault.kind}")

    async def main() -> None:
        endpoint = endpoint_of(listen(("127.0.0.1", 0)))
        done = trio.Event()

        async def serve(channel: trio.DTLSChannel) -> None:
            association = Association(channel, _MTU, slow)
            association.observer = observer
            await end_of(association, "server", timeout_s)
            done.set()
            try:
                with contextlib.suppress(TransportFault):
                    await association.receive()
            finally:
                association.close()

        async with trio.open_nursery() as nursery:
            await nursery.start(endpoint.serve, server, serve)
            channel = dial(endpoint.socket.getsockname(), client)
            association = Association(channel, _MTU)
            with trio.fail_after(PATIENCE_S):
                if timeout_s < PATIENCE_S:
                    nursery.start_soon(end_of, association, "client", PATIENCE_S)
                else:
                    await end_of(association, "client", PATIENCE_S)
                await done.wait()
            nursery.cancel_scope.cancel()
        association.close()
        channel.endpoint.close()
        endpoint.close()

    trio.run(main)
    return slow.events


@pytest.mark.parametrize("poll_tick_s", [0.0, 0.03])
def test_an_answer_that_takes_its_time(poll_tick_s: float) -> None:
    """Nothing is said before: not on its own, nor because the client asks again and again."""
    events = _deliberated(_Slow(0.2, poll_tick_s), None)
    assert events[:2] == ["asked", "answered"]
    assert sorted(events[2:]) == ["client: up", "server: up"]


def test_a_refusal_that_takes_its_time() -> None:
    events = _deliberated(_Slow(0.2), "key_hash_not_listed")
    assert events[:2] == ["asked", "answered"]
    assert sorted(events[2:]) == ["client: alert_certificate_unknown", "server: key_hash_not_listed"]


@pytest.mark.parametrize("refusal", [None, "key_hash_not_listed"])
def test_an_answer_that_comes_too_late(refusal: str | None) -> None:
    """Then the time for setting up is over, and the client is told nothing."""
    events = _deliberated(_Slow(1000), refusal, timeout_s=1)
    assert events == ["asked", f"server: {refusal or 'timeout'}"]


# -- traced ------------------------------------------------------------------------------------------------------------


def _told(slow: _Slow, refusal: str | None, timeout_s: float = PATIENCE_S) -> list[TraceEvent]:
    events: list[TraceEvent] = []
    _deliberated(slow, refusal, timeout_s, Observer(events.append, patient=True))
    return events


def _steps(events: list[TraceEvent]) -> list[Happening]:
    """All but states, and whether it waits for what comes in pieces."""
    passing = (Happening.STATE, Happening.ENTERED, Happening.WAITING)
    return [event.happening for event in events if event.happening not in passing]


_ASKED = [Happening.ALLOCATED, Happening.CHECKING]
_UP = [*_ASKED, Happening.CHECKED, Happening.FINISHED, Happening.CONFIRMED, Happening.RELEASED]


def test_what_follows_from_an_answer_is_told_when_the_answer_is_there() -> None:
    slow = _Slow(0.2)
    events = _told(slow, None)
    assert _steps(events) == _UP
    times = [event.at_ns for event in events]
    assert times == sorted(times)
    asked = next(index for index, event in enumerate(events) if event.happening is Happening.CHECKING)
    assert times[asked + 1] - times[asked] >= slow.wait_ns


def test_a_refusal_has_its_alert_and_its_end() -> None:
    events = _told(_Slow(0.2), "key_hash_not_listed")
    assert _steps(events) == [*_ASKED, Happening.CHECKED, Happening.FAILED, Happening.RELEASED]
    checked, failed = (next(e for e in events if e.happening is each) for each in (Happening.CHECKED, Happening.FAILED))
    assert checked.text == failed.text == "key_hash_not_listed"
    (alert,) = (event for event in events if event.is_alert)
    assert (alert.where, alert.ret) == (0x4008, 0x22E)


@pytest.mark.parametrize("refusal", [None, "key_hash_not_listed"])
def test_a_client_that_is_let_go_of_before_its_answer_was_never_answered(refusal: str | None) -> None:
    events = _told(_Slow(1000), refusal, timeout_s=1)
    assert _steps(events) == [*_ASKED, Happening.RELEASED]
    assert not any(event.is_alert for event in events)


def test_a_handshake_that_waits_and_goes_on_is_told_so() -> None:
    """Also between the datagrams of one flight; and the answer of an AAA that needed no time is told at once."""
    events = _told(_Slow(0.0), None)
    assert _steps(events) == _UP
    told = [event.happening for event in events if event.happening in (Happening.ENTERED, Happening.WAITING)]
    assert told == [Happening.ENTERED, *[Happening.WAITING, Happening.ENTERED] * (len(told) // 2)]
    assert len(told) >= 3
