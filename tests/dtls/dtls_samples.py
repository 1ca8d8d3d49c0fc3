"""Both drivers in one process, with real sockets and keys, and a bad line between them that keeps books."""

from __future__ import annotations

import random
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import trio
from drive_samples import equipped
from OpenSSL import SSL

from loadgen.drive.dtls import DtlsDriver
from loadgen.drive.dtls_mse import DtlsMseDriver
from loadgen.drive.dtls_wlc import DtlsWlcDriver
from loadgen.identity.any_certificate import AnyCertificate
from loadgen.identity.authlist import AuthList
from loadgen.identity.credentials import Authority, Identity, new_key, self_signed
from loadgen.measure.recorder import Recorder
from loadgen.nmsp.messages import Role
from loadgen.nmsp.profile import reference_profile
from loadgen.scenario.plan import Plan, Use, make_plan
from loadgen.scenario.reading import load_scenario
from loadgen.transport.contexts import client_context, server_context
from loadgen.transport.dtls import DatagramContext, listen
from loadgen.transport.verifying import Ruling
from loadgen.units import NS_PER_S

# Only ever reached by a test that has failed: what is waited for is an event.
PATIENCE_S = 60
PROFILE = reference_profile()
KEY = new_key("p256")
NOW = datetime.now(UTC)
AUTHORITY = Authority.new("dtls tests", NOW, "p256")
MSE_IDENTITY = self_signed("02:4d:53:00:00:00", KEY, NOW)
WLC_IDENTITY = AUTHORITY.issue("02:57:4c:00:00:00", KEY, NOW)
ALLOWED = AuthList.of([MSE_IDENTITY], "sha256", "spki")
# A record of application data: content type 23, DTLS 1.2, and its whole overhead with AES-GCM.
APPLICATION_DATA = b"\x17\xfe\xfd"
RECORD_BYTES = 13 + 8 + 16

SCENARIO = """
name = "line"
transport = "dtls"
[wlc]
count = 2
stations = 6
readings = 3
[mse]
count = 3
connect_per_s = 1000
setup_timeout = "50s"
[dtls]
mtu = 576
retransmit = "100ms"
[session]
response_timeout = "60ms"
retransmit_interval = "40ms"
max_retransmits = 50
[load]
rate = 600
stages = [{ hold = "1s" }]
backlog = "50s"
"""


def wlc_context() -> SSL.Context:
    identity = WLC_IDENTITY
    return server_context(
        identity.key_pem, identity.certificate_pem, identity.chain_pem, "1.2",
        lambda _, der: Ruling(None if ALLOWED.find(AnyCertificate(der)) else "key_hash_not_listed"),
        make=DatagramContext,
    )  # fmt: skip


def mse_context(identity: Identity = MSE_IDENTITY, trusted: bytes | None = AUTHORITY.certificate_pem) -> SSL.Context:
    return client_context(
        identity.key_pem, identity.certificate_pem, identity.chain_pem, "1.2", trusted, make=DatagramContext
    )


class Flow:
    """One client's packets through a line, in one direction.

    Attributes:
        passed: numbers of the application datagrams that were let through, in that order; repeated ones once.
        sizes: of all application datagrams that came, by number. delayed: which of them were held back.
    """

    def __init__(self) -> None:
        self.count = 0
        self.passed: list[int] = []
        self.sizes: list[int] = []
        self.delayed: list[int] = []
        self.held: list[tuple[int, int, bytes]] = []  # after how many more to let it go, its number, the packet

    def lost(self) -> list[int]:
        """Numbers that were never let through, though later ones were."""
        return sorted(set(range(max(self.passed, default=0))) - set(self.passed))

    def late(self) -> list[int]:
        """Numbers that were let through after a higher one."""
        highest, late = -1, []
        for number in self.passed:
            if number < highest:
                late.append(number)
            highest = max(highest, number)
        return late


class Line:
    """A UDP relay in front of one WLC: it loses, repeats and reorders packets, by a seed; each as it says.

    Attributes:
        to_wlc, to_mse: flows by the client's address.
        bad: shares of packets that are lost, repeated and held back.
        hold_for: what is held back goes after so many others.
        only_large: leave application datagrams alone that are smaller than this.
        damage: share of packets of which a byte is changed.
        done: what was done, and to how many.
        front, backs: its sockets: the one that clients know, and for each client the one that the WLC knows.
    """

    def __init__(self, wlc: tuple[str, int], seed: int) -> None:
        self.wlc = wlc
        self.seed = seed
        self.bad = (0.0, 0.0, 0.0)
        self.hold_for = 2
        self.only_large = 0
        self.done = Counter[str]()
        self.largest = 0
        self.to_wlc: dict[object, Flow] = {}
        self.to_mse: dict[object, Flow] = {}
        self.damage = 0.0
        self.address = ("", 0)
        self.front: trio.socket.SocketType | None = None
        self.backs: dict[object, trio.socket.SocketType] = {}

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        async with trio.open_nursery() as nursery:
            with trio.socket.socket(type=trio.socket.SOCK_DGRAM) as front:
                front.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_RCVBUF, 4 << 20)
                await front.bind(("127.0.0.1", 0))
                self.front, self.address, backs = front, front.getsockname(), self.backs
                task_status.started()
                try:
                    while True:
                        packet, client = await front.recvfrom(65536)
                        if client not in backs:
                            backs[client] = back = trio.socket.socket(type=trio.socket.SOCK_DGRAM)
                            back.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_RCVBUF, 4 << 20)
                            await back.bind(("127.0.0.1", 0))
                            self.to_wlc[client], self.to_mse[client] = Flow(), Flow()
                            nursery.start_soon(self._answers, back, front, client)
                        await self._pass(self.to_wlc[client], f"{len(backs)}>", packet, backs[client], self.wlc)
                finally:
                    for back in backs.values():
                        back.close()

    async def _answers(self, back: trio.socket.SocketType, front: trio.socket.SocketType, client: object) -> None:
        while True:
            packet, _ = await back.recvfrom(65536)
            await self._pass(self.to_mse[client], f"{client}<", packet, front, client)

    async def _pass(self, flow: Flow, name: str, packet: bytes, to: trio.socket.SocketType, address: object) -> None:
        self.largest = max(self.largest, len(packet))
        application = packet.startswith(APPLICATION_DATA)
        number = len(flow.sizes)
        if application:
            flow.sizes.append(len(packet) - RECORD_BYTES)
        flow.count += 1
        dice = random.Random(f"{self.seed} {name} {flow.count}").random()
        lose, repeat, hold = self.bad
        if application and len(packet) < self.only_large:
            lose = repeat = hold = 0.0
        copies, what = 1, "passed"
        if dice > 1 - self.damage:
            place = int(dice * 1e9) % len(packet)
            packet, what = packet[:place] + bytes([packet[place] ^ 0x55]) + packet[place + 1 :], "damaged"
        if dice < lose:
            copies, what = 0, "lost"
        elif dice < lose + repeat:
            copies, what = 2, "repeated"
        elif dice < lose + repeat + hold and application:
            flow.held.append((self.hold_for, number, packet))
            flow.delayed.append(number)
            copies, what = 0, "held"
        self.done[what] += 1
        for _ in range(copies):
            await to.sendto(packet, address)
        if application and copies:
            flow.passed.append(number)
        # What was held back goes when so many others have come by.
        held, flow.held = flow.held, []
        for after, late_number, late in held:
            if late is packet or (after > 1):
                flow.held.append((after - (late is not packet), late_number, late))
            else:
                await to.sendto(late, address)
                flow.passed.append(late_number)


class Side:
    """A driver with its recorder."""

    def __init__(self, driver: DtlsDriver, recorder: Recorder) -> None:
        self.driver = driver
        self.recorder = recorder

    def counters(self) -> Counter[str]:
        return self.recorder.counters + Counter(self.driver.totals(time.monotonic_ns()))

    def errors(self) -> dict[str, int]:
        return {name: count for name, count in self.recorder.counters.items() if name.startswith("errors.")}


async def until(condition: Callable[[], object]) -> None:
    """Let others work until it holds."""
    with trio.fail_after(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - what is waited for is counted by code under test, which sets no event
            await trio.sleep(0.002)


def plan_of(folder: Path, *overrides: str, use: Use = Use.BOTH) -> Plan:
    path = folder / "line.toml"
    path.write_text(SCENARIO, "utf-8")
    scenario, profile = load_scenario(path, overrides)
    assert profile is PROFILE
    return make_plan(scenario, profile, use=use)


class Wlcs(Side):
    """The plan's WLCs, at these sockets. Made in trio."""

    driver: DtlsWlcDriver

    def __init__(self, plan: Plan, sockets: Sequence[socket.socket]) -> None:
        recorder = Recorder()
        super().__init__(
            DtlsWlcDriver(equipped(Role.WLC, plan, PROFILE, recorder), sockets, [wlc_context() for _ in sockets]),
            recorder,
        )


class Mses(Side):
    """The plan's MSEs."""

    driver: DtlsMseDriver

    def __init__(
        self, plan: Plan, addresses: Sequence[tuple[str, int]], contexts: Sequence[SSL.Context] | None = None
    ) -> None:
        recorder = Recorder()
        super().__init__(
            DtlsMseDriver(
                equipped(Role.MSE, plan, PROFILE, recorder),
                addresses,
                contexts or [mse_context()] * len(plan.mse_macs),
            ),
            recorder,
        )


class Pair:
    """Both sides of a plan, and a line in front of each WLC."""

    def __init__(self, plan: Plan, seed: int) -> None:
        self.plan = plan
        self._sockets = [listen(("127.0.0.1", 0)) for _ in plan.wlcs]
        self.lines = [Line(sock.getsockname(), seed + number) for number, sock in enumerate(self._sockets)]
        self.wlcs: Wlcs
        self.mses: Mses

    def set(self, lose: float, repeat: float, hold: float, only_large: int = 0) -> None:
        for line in self.lines:
            line.bad, line.only_large = (lose, repeat, hold), only_large

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Both drivers run, and sessions are dialed; afterwards they finish."""
        self.wlcs = Wlcs(self.plan, self._sockets)
        async with trio.open_nursery() as nursery:
            for line in self.lines:
                await nursery.start(line.run)
            self.mses = Mses(self.plan, [line.address for line in self.lines])
            async with trio.open_nursery() as both:
                both.start_soon(self.wlcs.driver.run)
                both.start_soon(self.mses.driver.run)
                self.mses.driver.start_dialing(time.monotonic_ns())
                yield
                self.wlcs.driver.finish()
                self.mses.driver.finish()
            nursery.cancel_scope.cancel()

    async def all_up(self) -> None:
        sessions = len(self.plan.sessions)
        await until(lambda: self.wlcs.driver.active == self.mses.driver.active == sessions)

    async def load(self) -> None:
        """The plan's load, and what was sent has come as far as it will."""
        at_ns = time.monotonic_ns() + NS_PER_S // 20
        for side in (self.wlcs, self.mses):
            side.driver.start_load(at_ns, self.plan.load.stages)
        with trio.fail_after(PATIENCE_S):
            await self.wlcs.driver.load_over.wait()


def run(body: Callable[[], Awaitable[None]]) -> None:
    """In trio, not longer than patience lasts."""

    async def bounded() -> None:
        with trio.fail_after(2 * PATIENCE_S):
            await body()

    trio.run(bounded)


async def hello_with_cookie(sock: trio.socket.SocketType, context: SSL.Context) -> bytes:
    """A client's second hello, by which a WLC knows that it can be reached at its address."""
    connection = SSL.Connection(context)
    connection.set_connect_state()
    connection.set_ciphertext_mtu(1200)
    with suppress(SSL.WantReadError):
        connection.do_handshake()
    await sock.send(connection.bio_read(2000))
    connection.bio_write(await sock.recv(2000))
    with suppress(SSL.WantReadError):
        connection.do_handshake()
    return connection.bio_read(2000)
