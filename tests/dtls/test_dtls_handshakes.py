"""Handshake-only load over a line that loses: every flight is sent again, and both sides' books balance."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import pytest
import trio
import trio.testing
from drive_samples import equipped
from dtls_samples import MSE_IDENTITY, PATIENCE_S, PROFILE, WLC_IDENTITY, Line, Side, mse_context, plan_of, run, until
from OpenSSL import SSL

from loadgen.drive.dtls_handshakes import DtlsHandshakeMseDriver, DtlsHandshakeWlcDriver
from loadgen.identity.credentials import Identity, new_key, self_signed
from loadgen.measure.recorder import Recorder
from loadgen.nmsp.messages import Role
from loadgen.scenario.plan import Plan, Use
from loadgen.transport.contexts import server_context
from loadgen.transport.dtls import DatagramContext, listen

HANDSHAKES = ("load={kind='handshake', rate=30, stages=[{hold='1s'}], backlog='50s'}", "dtls.retransmit=50ms")
# On a line that loses nothing, nothing is sent again: what a busy machine has not read yet is not lost.
GOOD_LINE = "dtls.retransmit=10s"
# There are six pairs, and five at once at most: however long they take, one of a pair is over before the next of it
# begins, and can be resumed.
TO_BE_RESUMED = ("load.concurrency=5", "dtls.mtu=1500", "mse.setup_timeout=20s")


def wlc_context(identity: Identity = WLC_IDENTITY) -> SSL.Context:
    """It gives tickets, and lets everybody in."""
    return server_context(
        identity.key_pem, identity.certificate_pem, identity.chain_pem, "1.2", None, tickets=True, make=DatagramContext
    )


class Shaking:
    """Both sides of a plan, and a line in front of each WLC."""

    def __init__(self, plan: Plan, *, lose: float = 0.0, client: Identity = MSE_IDENTITY) -> None:
        self.plan = plan
        self._lose = lose
        self._context = mse_context(client)

    async def __call__(self) -> None:
        sockets = [listen(("127.0.0.1", 0)) for _ in self.plan.wlcs]
        lines = [Line(sock.getsockname(), number) for number, sock in enumerate(sockets)]
        self.wlcs = self._wlcs(sockets)
        async with trio.open_nursery() as nursery:
            for line in lines:
                line.bad = (self._lose, 0.0, 0.0)
                await nursery.start(line.run)
            self.mses = self._mses([line.address for line in lines])
            async with trio.open_nursery() as both:
                for side in (self.wlcs, self.mses):
                    both.start_soon(side.driver.run)
                await trio.testing.wait_all_tasks_blocked()
                self.mses.driver.start_load(time.monotonic_ns(), self.plan.load.stages)
                with trio.fail_after(PATIENCE_S):
                    await self.mses.driver.load_over.wait()
                if not self._lose:
                    await until(lambda: not self.wlcs.driver.links)  # all goodbyes have come
                self.mses.driver.finish()
                self.wlcs.driver.finish()
            nursery.cancel_scope.cancel()

    def _wlcs(self, sockets: Sequence) -> Side:  # type: ignore[type-arg]
        recorder = Recorder()
        equipment = equipped(Role.WLC, self.plan, PROFILE, recorder)
        return Side(DtlsHandshakeWlcDriver(equipment, sockets, [wlc_context() for _ in sockets]), recorder)

    def _mses(self, addresses: Sequence[tuple[str, int]]) -> Side:
        recorder = Recorder()
        equipment = equipped(Role.MSE, self.plan, PROFILE, recorder)
        contexts = [self._context] * len(self.plan.mse_macs)
        return Side(DtlsHandshakeMseDriver(equipment, addresses, contexts), recorder)


def test_a_good_line(tmp_path: Path) -> None:
    shaking = Shaking(plan_of(tmp_path, *HANDSHAKES, GOOD_LINE))
    run(shaking)
    mse, wlc = shaking.mses.counters(), shaking.wlcs.counters()
    assert mse["handshakes.due"] == mse["handshakes.attempted"] == mse["handshakes.completed"] == 30
    assert wlc["accept.attempts"] == wlc["accept.success"] == 30
    assert shaking.mses.errors() == shaking.wlcs.errors() == {}
    for metric in ("handshake.tls", "handshake.service", "handshake.latency", "handshake.lag"):
        histogram = shaking.mses.recorder.bins(metric).take() or shaking.mses.recorder.take(0).histograms
        assert histogram, metric


@pytest.mark.parametrize("share", [0, 1])
def test_handshakes_come_about_in_spite_of_the_line(tmp_path: Path, share: int) -> None:
    """A sixth of all packets is lost, in both directions. One that loses the same flight again and again, twice as long
    after each, may run into its timeout; it is then counted as that.
    """
    plan = plan_of(tmp_path, *HANDSHAKES, *TO_BE_RESUMED, f"load.resumed={share}")
    assert len(plan.sessions) == 6
    shaking = Shaking(plan, lose=0.15)
    run(shaking)
    mse, wlc = shaking.mses.counters(), shaking.wlcs.counters()
    assert mse["handshakes.due"] == mse["handshakes.attempted"] == 30
    assert mse["handshakes.completed"] + mse["handshakes.failed"] == 30
    assert mse["handshakes.completed"] >= 28
    assert sum(shaking.mses.errors().values()) == mse["errors.tls.timeout"] == mse["handshakes.failed"]
    assert (mse["handshakes.resumed"] > 0) == bool(share)
    # A resumed one is over for the client when it has sent what the WLC still waits for.
    assert wlc["accept.success"] + share * (30 - wlc["accept.success"]) >= mse["handshakes.completed"]
    assert set(shaking.wlcs.errors()) <= {"errors.close.timeout", "errors.accept.timeout"}


def test_a_ticket_that_fits_into_no_datagram_is_not_offered(tmp_path: Path) -> None:
    """A WLC that keeps nothing before its cookie came back does not put hellos together. Ours has the certificate in
    its tickets: of an RSA key, it is larger than what 576 bytes have room for.
    """
    client = self_signed("02:4d:53:00:00:00", new_key("rsa-2048"), MSE_IDENTITY.certificate().begins)  # type: ignore[arg-type]
    shaking = Shaking(
        plan_of(tmp_path, *HANDSHAKES, *TO_BE_RESUMED, "load.resumed=1", "dtls.mtu=576", GOOD_LINE), client=client
    )
    run(shaking)
    mse = shaking.mses.counters()
    assert mse["handshakes.completed"] == 30
    assert mse["handshakes.resumption_asked"] > 0
    assert mse["handshakes.resumption_offered"] == mse["handshakes.resumed"] == 0
    assert shaking.mses.errors() == {}


def test_a_worker_that_is_told_to_halt_gives_what_is_under_way_a_moment(tmp_path: Path) -> None:
    """Nobody answers: after that moment they are withdrawn, and the side has halted."""
    plan = plan_of(tmp_path, *HANDSHAKES, use=Use.BOTH)

    async def body() -> None:
        deaf = listen(("127.0.0.1", 0))
        recorder = Recorder()
        driver = DtlsHandshakeMseDriver(
            equipped(Role.MSE, plan, PROFILE, recorder), [deaf.getsockname()] * 2, [mse_context()] * 3
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(driver.run)
            await trio.testing.wait_all_tasks_blocked()
            driver.start_load(time.monotonic_ns(), plan.load.stages)
            await until(lambda: recorder.counters["handshakes.attempted"] >= 3)
            driver.halt()
            assert not driver.halted.is_set()
            await driver.halted.wait()
            driver.finish()
        counters = recorder.counters
        assert counters["handshakes.withdrawn"] == counters["handshakes.attempted"] >= 3
        assert not [name for name in counters if name.startswith("errors.")]
        deaf.close()

    run(body)
