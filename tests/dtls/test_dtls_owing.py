"""What WLCs owe over datagrams when somebody else's MSEs come and go."""

from __future__ import annotations

import itertools
import time
from pathlib import Path
from types import SimpleNamespace

import trio
from dtls_samples import PROFILE, Wlcs, plan_of, run

from loadgen.drive.dtls_wlc import DtlsWlcLink
from loadgen.drive.phase import Phase
from loadgen.nmsp.bulk import NotifyReceiver
from loadgen.nmsp.codec import Codec
from loadgen.nmsp.messages import Message, SubscribeRequest, UnsubscribeRequest, VersionRequest
from loadgen.scenario.plan import Plan, Use
from loadgen.transport.dtls import listen


def test_what_is_due_goes_on_when_an_mse_leaves_or_never_comes(tmp_path: Path) -> None:
    """Three should be at each of two WLCs; one comes to the first, and leaves."""
    plan = plan_of(tmp_path, use=Use.SERVE_WLC)

    async def body() -> None:
        driver = Wlcs(plan, [listen(("127.0.0.1", 0)) for _ in plan.wlcs]).driver
        owing = driver.owing
        at_ns = time.monotonic_ns()
        owing.start(at_ns, plan.load.stages)
        link = DtlsWlcLink(SimpleNamespace(peer_address=("127.0.0.1", 1)), 0, 0)  # type: ignore[arg-type]
        owing.subscribe(link, at_ns)
        assert owing.rows[0] == [0, 1, 2]
        owing.ledger.done[link.row] += 7
        driver.on_gone(link, Phase.ACTIVE, orderly=True)
        end_ns = at_ns + plan.duration_ns
        owing.give_up(end_ns)
        assert owing.totals(end_ns) == (3 * 600, 3 * 600 - 7, 0, 0)
        driver.shut()

    run(body)


class Answers:
    """An association that keeps what is sent over it, in order, and takes its time."""

    peer_address = ("127.0.0.1", 1)
    most_bytes = 500
    verified = None
    deliberating = False

    def __init__(self) -> None:
        self.sending = trio.Lock()
        self.sent: list[bytes] = []

    async def send(self, data: bytes | memoryview) -> None:
        await trio.lowlevel.checkpoint()
        self.sent.append(bytes(data))


async def unsubscribing(plan: Plan, *then: Message) -> tuple[Wlcs, DtlsWlcLink, list[bytes], int]:
    """The first WLC's MSE unsubscribes while ten notifications are due that nobody has come to yet.

    Returns:
        What was sent to it since, and when it unsubscribed.
    """
    wlcs = Wlcs(plan, [listen(("127.0.0.1", 0)) for _ in plan.wlcs])
    driver, answers = wlcs.driver, Answers()
    owing, codec = driver.owing, Codec(PROFILE)
    link = DtlsWlcLink(answers, 0, 0)  # type: ignore[arg-type]
    driver.on_tunnel(link, time.monotonic_ns())
    link.phase = Phase.SETTING_UP

    transactions = itertools.count(3)  # a number that comes again would be the same request

    async def hear(now_ns: int, *messages: Message) -> None:
        data = b"".join(codec.encode(message, next(transactions)) for message in messages)
        await driver.on_datagram(link, data, now_ns)

    now = time.monotonic_ns()
    await hear(now, VersionRequest(1, 1), SubscribeRequest(1))
    assert link.phase is Phase.ACTIVE
    owing.start(now, plan.load.stages)
    before, at_ns = len(answers.sent), owing.slot_due_ns(9 * len(plan.wlcs))
    await hear(at_ns, UnsubscribeRequest(1), *then)
    return wlcs, link, answers.sent[before:], at_ns


def sequences(datagrams: list[bytes]) -> list[int]:
    receiver = NotifyReceiver(PROFILE, 1 << 16)
    found: list[int] = []
    for datagram in datagrams:
        receiver.view[: len(datagram)] = datagram
        receiver.scan_untrusted(0, len(datagram))
        found += receiver.columns().sequence.tolist()
        receiver.reset()
    return found


def test_what_is_due_when_an_mse_unsubscribes_goes_out_ahead_of_the_answer(tmp_path: Path) -> None:
    """It is neither declined nor dropped; what becomes due afterwards is declined. Nobody is at the other WLC."""
    plan = plan_of(tmp_path, "mse.count=1", use=Use.SERVE_WLC)

    async def body() -> None:
        wlcs, link, sent, at_ns = await unsubscribing(plan)
        assert len(sent) > 2
        assert sequences(sent[:-1]) == list(range(10))
        assert int.from_bytes(sent[-1][2:4], "big") == 10  # the response
        assert (link.row, link.left_row >= 0, link.leaving) == (-1, True, False)
        owing, end_ns = wlcs.driver.owing, at_ns + plan.duration_ns
        owing.give_up(end_ns)
        assert owing.totals(end_ns) == (10 + 300, 300, 0, 300 - 10)
        wlcs.driver.shut()

    run(body)


def test_who_subscribes_again_in_the_same_datagram_has_declined_nothing(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, "mse.count=1", use=Use.SERVE_WLC)

    async def body() -> None:
        wlcs, link, _, at_ns = await unsubscribing(plan, SubscribeRequest(1))
        owing = wlcs.driver.owing
        assert link.row in owing.rows[0]
        assert owing.totals(at_ns)[2:] == (0, 0)
        await wlcs.driver.on_tick(at_ns)
        assert wlcs.driver.notifiers.sent == owing.ledger.done[link.row] == 10
        await wlcs.driver.on_tick(owing.slot_due_ns(19 * len(plan.wlcs)))
        assert wlcs.driver.notifiers.sent == owing.ledger.done[link.row] == 20
        wlcs.driver.shut()

    run(body)
