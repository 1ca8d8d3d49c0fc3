"""Whatever datagrams come: a counted fault of that association, or dropped by DTLS; and the others do not notice."""

from __future__ import annotations

import contextlib
import random
import socket
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio
from drive_samples import equipped
from dtls_samples import (
    AUTHORITY,
    NOW,
    PROFILE,
    Mses,
    Pair,
    Wlcs,
    mse_context,
    plan_of,
    run,
    until,
    wlc_context,
)

from loadgen.identity.credentials import Authority, new_key, self_signed
from loadgen.measure.recorder import Recorder
from loadgen.nmsp.bulk import Control
from loadgen.nmsp.catalogue import KIND_OF
from loadgen.nmsp.codec import Codec
from loadgen.nmsp.messages import EchoRequest, Role, SubscribeRequest, VersionRequest
from loadgen.session.datagrams import DatagramWlcEndpoint
from loadgen.transport.dtls import Association, dial, endpoint_of, listen
from loadgen.transport.tls import EndOfStream, TransportFault

CODEC = Codec(PROFILE)
ONE = ("wlc.count=1", "mse.count=1", "load.rate=100")


def _one_of_each(pair: Pair, body: Callable[[], Awaitable[None]]) -> None:
    async def whole() -> None:
        async with pair.running():
            await body()

    run(whole)


class Stranger:
    """An MSE that we play by hand, with an association of its own."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.channel = dial(address, mse_context())
        self.association = Association(self.channel, 1500)

    async def __aenter__(self) -> Stranger:
        await self.association.handshake(20, 0.2)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.association.close()
        self.channel.endpoint.close()

    async def say(self, data: bytes) -> None:
        async with self.association.sending:
            await self.association.send(data)

    async def set_up(self) -> None:
        await self.say(CODEC.encode(VersionRequest(1, 1), 1))
        assert len(await self.association.receive()) == 16 + 20
        await self.say(CODEC.encode(SubscribeRequest(1), 2))
        assert len(await self.association.receive()) == 24


class TestRefused:
    """Handshakes that fail, on both sides."""

    def test_a_client_that_is_not_listed(self, tmp_path: Path) -> None:
        plan = plan_of(tmp_path, *ONE)
        stranger = self_signed("02:4d:53:99:99:99", new_key("p256"), NOW)
        wlcs, mses = self._run(plan, [mse_context(stranger)])
        assert wlcs.errors() == {"errors.accept.key_hash_not_listed": 1}
        ((name, count),) = mses.errors().items()
        assert name.startswith("errors.tls.alert_")
        assert count == mses.counters()["sessions.failed"] == 1

    def test_a_server_that_is_not_trusted(self, tmp_path: Path) -> None:
        plan = plan_of(tmp_path, *ONE)
        other = Authority.new("somebody else", NOW, "p256").certificate_pem
        assert other != AUTHORITY.certificate_pem
        wlcs, mses = self._run(plan, [mse_context(trusted=other)])
        assert mses.errors() == {"errors.tls.certificate_verify_failed": 1}
        assert wlcs.errors() == {"errors.accept.alert_unknown_ca": 1}

    def _run(self, plan: object, contexts: list[object]) -> tuple[Wlcs, Mses]:
        found: list[tuple[Wlcs, Mses]] = []

        async def body() -> None:
            sock = listen(("127.0.0.1", 0))
            address = sock.getsockname()
            wlcs = Wlcs(plan, [sock])  # type: ignore[arg-type]
            mses = Mses(plan, [address], contexts)  # type: ignore[arg-type]
            async with trio.open_nursery() as nursery:
                nursery.start_soon(wlcs.driver.run)
                nursery.start_soon(mses.driver.run)
                mses.driver.start_dialing(time.monotonic_ns())
                await until(lambda: mses.errors() and wlcs.errors())
                wlcs.driver.finish()
                mses.driver.finish()
            found.append((wlcs, mses))

        run(body)
        return found[0]

    def test_nobody_there(self, tmp_path: Path) -> None:
        plan = plan_of(tmp_path, *ONE, "mse.setup_timeout=300ms")
        counters: list[dict[str, int]] = []

        async def body() -> None:
            with socket.socket(type=socket.SOCK_DGRAM) as silent:
                silent.bind(("127.0.0.1", 0))
                mses = Mses(plan, [silent.getsockname()])
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(mses.driver.run)
                    mses.driver.start_dialing(time.monotonic_ns())
                    await until(mses.errors)
                    mses.driver.finish()
                counters.append(mses.errors())

        run(body)
        assert counters == [{"errors.tls.timeout": 1}]


class TestFromOutside:
    def test_datagrams_of_anything_from_anybody(self, tmp_path: Path) -> None:
        """To the WLC's socket, and into the line, where they seem to come from the peers."""
        pair = Pair(plan_of(tmp_path), 1)
        dice = random.Random(7)

        def junk() -> bytes:
            size = dice.choice([0, 1, 2, 12, 13, 14, 60, 200, 1400])
            data = bytearray(dice.randbytes(size))
            kind = dice.randrange(6)
            if kind < 5 and size > 13:  # looks like a record: alert, handshake, data, of both epochs
                data[:3] = bytes([dice.choice([20, 21, 22, 23]), 0xFE, dice.choice([0xFD, 0xFF])])
                data[3:5] = bytes([0, dice.choice([0, 0, 1])])
                data[11:13] = (size - 13).to_bytes(2, "big")
                if kind == 3 and size > 40:  # a ClientHello
                    data[0], data[13] = 22, 1
                    data[14:17] = data[22:25] = (size - 25).to_bytes(3, "big")
                    data[19:22] = bytes(3)
            return bytes(data)

        async def body() -> None:
            async with pair.running():
                await pair.all_up()
                sender = trio.socket.socket(type=trio.socket.SOCK_DGRAM)
                with sender:
                    await sender.bind(("127.0.0.1", 0))
                    for _ in range(600):
                        for line in pair.lines:
                            await sender.sendto(junk(), line.wlc)
                            for back in line.backs.values():  # what the MSE seems to say
                                await back.sendto(junk(), line.wlc)
                            for client in line.backs:  # what the WLC seems to say
                                assert line.front is not None
                                await line.front.sendto(junk(), client)
                await pair.load()
                await until(lambda: pair.mses.counters()["notify.received"] == 3 * 600)

        run(body)
        assert pair.wlcs.errors() == pair.mses.errors() == {}
        assert pair.mses.counters()["notify.lost"] == 0
        assert pair.mses.counters()["sessions.closed"] == 6

    @pytest.mark.parametrize("seed", [1, 2])
    def test_packets_that_are_damaged_on_the_way(self, tmp_path: Path, seed: int) -> None:
        """Each counts as lost; DTLS finds them out. Handshakes get through with those that are whole."""
        # What was damaged in the clear may have led a handshake astray: it ends by this timeout.
        pair = Pair(plan_of(tmp_path, "mse.setup_timeout=5s"), seed)
        for line in pair.lines:
            line.damage = 0.1

        async def body() -> None:
            async with pair.running():
                await until(
                    lambda: pair.mses.counters()["sessions.established"] + pair.mses.counters()["sessions.failed"] == 6
                )
                up = pair.mses.driver.active
                await pair.load()
                for line in pair.lines:
                    line.damage = 0.0
                await until(lambda: sum(line.done["damaged"] for line in pair.lines) > 20)
                assert pair.mses.driver.active == up > 0

        run(body)
        counters = pair.mses.counters()
        # A damaged flight in the clear may end that handshake, counted; a session that is up is never harmed.
        assert counters["sessions.lost"] == 0
        assert {name.split(".")[1] for name in pair.mses.errors()} <= {"tls"}
        assert {name.split(".")[1] for name in pair.wlcs.errors()} <= {"accept"}
        assert counters["notify.lost"] > 0


NOTIFY = bytes.fromhex("4e000010") + (44).to_bytes(4, "big") + bytes(4) + bytes(32)


class TestFromInside:
    """A peer with a certificate that is listed, that then sends something else."""

    @pytest.mark.parametrize(
        ("datagram", "kind"),
        [
            (b"\0" * 40, "garbage"),
            (CODEC.encode(VersionRequest(1, 1), 1) + b"\x4e", "malformed"),
            (CODEC.encode(VersionRequest(1, 1), 1)[:-1], "malformed"),
            (b"\x4e\0", "malformed"),
            (bytes.fromhex("4e000001 00000005 00000000") + b"\0" * 8, "malformed"),
            (bytes.fromhex("4e000001 7fffffff 00000000"), "oversized"),
            (CODEC.encode(EchoRequest(), 1), "unexpected_message"),
            (NOTIFY, "unexpected_message"),
        ],
        ids=[
            "garbage",
            "one-byte-more",
            "one-byte-less",
            "half-a-header",
            "short",
            "huge",
            "too-early",
            "notification",
        ],
    )
    @pytest.mark.parametrize("active", [False, True])
    def test_to_a_wlc(self, tmp_path: Path, datagram: bytes, kind: str, active: bool) -> None:
        pair = Pair(plan_of(tmp_path, *ONE), 1)
        if active and datagram == CODEC.encode(EchoRequest(), 1):
            datagram = CODEC.encode(VersionRequest(1, 1), 99)  # an echo is in order now

        async def body() -> None:
            await pair.all_up()
            async with Stranger(pair.lines[0].wlc) as stranger:
                if active:
                    await stranger.set_up()
                await stranger.say(datagram)
                with pytest.raises((EndOfStream, TransportFault)):  # it says goodbye
                    await stranger.association.receive()
            await pair.load()
            await until(lambda: pair.mses.counters()["notify.received"] == 100)

        _one_of_each(pair, body)
        assert pair.wlcs.errors() == {f"errors.{'serve' if active else 'accept'}.{kind}": 1}
        assert pair.mses.errors() == {}
        assert pair.mses.counters()["notify.lost"] == 0

    @pytest.mark.parametrize(
        ("datagram", "kind"),
        [
            (b"\0" * 40, "garbage"),
            (CODEC.encode(VersionRequest(1, 1), 1), "unexpected_message"),
            (b"\x4e\0\0", "malformed"),
            (bytes.fromhex("4e000010 0000002d 00000000") + bytes(33), "malformed"),
        ],
        ids=["garbage", "own-message", "half-a-header", "odd-notification"],
    )
    def test_to_an_mse(self, tmp_path: Path, datagram: bytes, kind: str) -> None:
        plan = plan_of(tmp_path, *ONE)
        errors: list[dict[str, int]] = []

        async def body() -> None:
            endpoint = endpoint_of(listen(("127.0.0.1", 0)))
            mses = Mses(plan, [endpoint.socket.getsockname()])

            async def wlc(channel: trio.DTLSChannel) -> None:
                """As our own WLC sets a session up, but for what follows."""
                association = Association(channel, 1500)
                await association.handshake(20, 0.2)
                wlc_end = DatagramWlcEndpoint(wlc_settings, 0)
                while not wlc_end.active:
                    await association.receive()
                    for frame in _answer(wlc_end):
                        async with association.sending:
                            await association.send(frame)
                async with association.sending:
                    await association.send(datagram)
                with contextlib.suppress(EndOfStream, TransportFault):
                    while True:
                        await association.receive()
                association.close()

            wlc_settings = equipped(Role.WLC, plan, PROFILE, Recorder()).settings
            steps = iter((VersionRequest(1, 1), SubscribeRequest(1)))

            def _answer(wlc_end: DatagramWlcEndpoint) -> list[bytes]:
                message = next(steps)
                transaction = 1 if isinstance(message, VersionRequest) else 2
                body = Codec(PROFILE).encode(message)[PROFILE.header.size :]
                number = PROFILE.ids[KIND_OF[type(message)]]
                wlc_end.control_untrusted(Control(number, transaction, memoryview(body)), 0)
                frames, wlc_end.outbox = wlc_end.outbox, []
                return frames

            async with trio.open_nursery() as nursery:
                nursery.start_soon(endpoint.serve, wlc_context(), wlc)
                nursery.start_soon(mses.driver.run)
                mses.driver.start_dialing(time.monotonic_ns())
                await until(mses.errors)
                mses.driver.finish()
                await until(lambda: mses.driver.finished)
                nursery.cancel_scope.cancel()
            endpoint.close()
            errors.append(mses.errors())

        run(body)
        assert errors == [{f"errors.stream.{kind}": 1}]

    def test_a_peer_that_begins_anew_from_the_same_address(self, tmp_path: Path) -> None:
        pair = Pair(plan_of(tmp_path, *ONE), 1)

        async def body() -> None:
            await pair.all_up()
            async with Stranger(pair.lines[0].wlc) as first:
                await first.set_up()
                channel = first.channel.endpoint.connect(pair.lines[0].wlc, mse_context())
                second = Association(channel, 1500)
                await second.handshake(20, 0.2)
                await until(pair.wlcs.errors)
                second.close()

        _one_of_each(pair, body)
        assert pair.wlcs.errors() == {"errors.serve.replaced": 1}
