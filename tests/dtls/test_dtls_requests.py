"""Requests over a line that loses, repeats and reorders; and a grant that changes all the time."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from dtls_samples import Pair, plan_of, run, until

ASKING = (
    "wlc.subservices=all", "mse.subscribe=['rssi-ms','info-ms','stats-ms','wips']",
    "requests.measurement={rate=60}", "requests.information={rate=30}", "requests.statistics={rate=30}",
    "requests.capability={rate=30}", "requests.wips_config={rate=30}",
)  # fmt: skip
DUE = 60 + 4 * 30


def _over(counters: Counter[str]) -> int:
    return counters["requests.answered"] + counters["requests.timed_out"] + counters["requests.dropped"]


def test_a_good_line(tmp_path: Path) -> None:
    # On a busy machine an answer may take longer than the 60 ms after which it is asked for again.
    pair = Pair(plan_of(tmp_path, *ASKING, "session.response_timeout=30s"), 1)

    async def body() -> None:
        async with pair.running():
            await pair.all_up()
            await pair.load()
            await until(lambda: _over(pair.mses.counters()) == DUE)

    run(body)
    mse, wlc = pair.mses.counters(), pair.wlcs.counters()
    assert mse["requests.due"] == mse["requests.sent"] == mse["requests.answered"] == wlc["requests.served"] == DUE
    for name in ("refused", "retransmitted", "late", "duplicated", "unmatched", "abandoned"):
        assert mse[f"requests.{name}"] == 0, name
    assert wlc["requests.repeated"] == 0
    assert pair.wlcs.errors() == pair.mses.errors() == {}


@pytest.mark.parametrize("seed", [1, 2])
def test_what_is_lost_is_asked_again(tmp_path: Path, seed: int) -> None:
    """A fifth of all packets is lost, in both directions; every request is answered all the same."""
    pair = Pair(plan_of(tmp_path, *ASKING), seed)

    async def body() -> None:
        async with pair.running():
            await pair.all_up()
            pair.set(0.2, 0.1, 0.1)
            await pair.load()
            await until(lambda: _over(pair.mses.counters()) == DUE)
            pair.set(0, 0, 0)

    run(body)
    mse, wlc = pair.mses.counters(), pair.wlcs.counters()
    assert mse["requests.due"] == mse["requests.sent"] == mse["requests.answered"] == DUE
    assert mse["requests.retransmitted"] > 10
    assert wlc["requests.repeated"] > 5  # those whose answer was lost
    assert wlc["requests.served"] == DUE + wlc["requests.repeated"]
    assert mse["requests.refused"] == mse["requests.unmatched"] == 0
    assert pair.wlcs.errors() == pair.mses.errors() == {}


def test_nobody_answers(tmp_path: Path) -> None:
    """Every request is sent as often as the scenario says, and has then failed; the sessions stay."""
    # Setting up a session has no more tries than that, and longer than 60 ms for each on a busy machine.
    patient = ("session.max_retransmits=1", "session.response_timeout=3s")
    pair = Pair(plan_of(tmp_path, "requests.capability={rate=30}", *patient), 1)

    async def body() -> None:
        async with pair.running():
            await pair.all_up()
            pair.set(1, 0, 0)
            await pair.load()
            await until(lambda: _over(pair.mses.counters()) == 30)
            assert pair.mses.driver.active == 6
            pair.set(0, 0, 0)

    run(body)
    mse = pair.mses.counters()
    assert mse["requests.due"] == mse["requests.sent"] == mse["requests.timed_out"] == 30
    assert mse["requests.retransmitted"] == 30
    assert pair.mses.errors() == {"errors.stream.timeout_capability": 30}


def test_notifications_stop_and_go_on(tmp_path: Path) -> None:
    """What falls due while nothing is granted is not owed, and the numbers go on: nothing is lost or dropped."""
    asking = ("requests.unsubscribe={interval='400ms', subservices=['rssi-ms']}",)
    again = "requests.subscribe={interval='400ms', delay='200ms'}"
    sent = []
    for extra in ((), (again,)):
        pair = Pair(plan_of(tmp_path, *asking, *extra), 1)

        async def body(pair: Pair = pair) -> None:
            async with pair.running():
                await pair.all_up()
                await pair.load()
                await until(lambda: pair.mses.counters()["notify.received"] == pair.wlcs.counters()["notify.sent"])
                await until(lambda: pair.mses.counters()["requests.answered"] == pair.mses.counters()["requests.due"])

        run(body)
        mse, wlc = pair.mses.counters(), pair.wlcs.counters()
        assert wlc["notify.due"] == wlc["notify.sent"] == mse["notify.received"]
        assert wlc["notify.dropped"] == mse["notify.lost"] == mse["notify.reordered"] == 0
        assert pair.wlcs.errors() == pair.mses.errors() == {}
        sent.append(wlc["notify.sent"])
    assert 0 < sent[0] < sent[1] < 3 * 600
