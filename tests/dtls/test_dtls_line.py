"""Sessions over a line that loses, repeats and reorders: they come up, and what is counted is what the line did."""

from __future__ import annotations

from pathlib import Path

import pytest
from dtls_samples import RECORD_BYTES, Flow, Pair, plan_of, run, until

READINGS = 3
FRAME_BYTES = 12 + 32 + 14 * READINGS  # docs/wire-profile.md
# The most readings: of such frames, a datagram holds one.
LARGE_BYTES = 12 + 32 + 14 * 16


def _notifications(flow: Flow, numbers: list[int] | range, frame_bytes: int = FRAME_BYTES) -> int:
    """How many notifications went in these datagrams; those of set-up and echoes are smaller than one."""
    return sum(flow.sizes[number] // frame_bytes for number in numbers)


def _check_sizes(pair: Pair) -> None:
    """Whole frames in every datagram, and no packet larger than the path's."""
    for line in pair.lines:
        assert 0 < line.largest <= pair.plan.dtls.mtu - 28
        for flow in line.to_mse.values():
            assert all(size % FRAME_BYTES == 0 for size in flow.sizes if size >= FRAME_BYTES)


def test_a_good_line(tmp_path: Path) -> None:
    """Nothing is lost, and everything says so."""
    # On a busy machine an answer may take longer than the 60 ms after which it is asked for again.
    pair = Pair(plan_of(tmp_path, "load.burst=30", "session.response_timeout=30s"), 1)

    async def body() -> None:
        async with pair.running():
            await pair.all_up()
            await pair.load()
            await until(lambda: pair.mses.counters()["notify.received"] == 3 * 600)

    run(body)
    wlc, mse = pair.wlcs.counters(), pair.mses.counters()
    assert wlc["notify.due"] == wlc["notify.sent"] == mse["notify.received"] == 3 * 600
    # Bursts of 30, five frames to a datagram: (576 - 28 - 37) // 86.
    assert wlc["notify.writes"] == 3 * 600 // 5
    never = (
        *("notify.lost", "notify.duplicated", "notify.reordered", "notify.early", "messages.repeated"),
        *("datagrams.dropped", "datagrams.overflowed", "messages.retransmitted"),
    )
    for side in (wlc, mse):
        assert {name: side[name] for name in never if side[name]} == {}
    assert wlc["datagrams.sent"] == mse["datagrams.received"]
    assert mse["datagrams.sent"] == wlc["datagrams.received"] == 2 * 6
    assert mse["sessions.established"] == mse["sessions.closed"] == 6
    assert pair.wlcs.errors() == pair.mses.errors() == {}
    _check_sizes(pair)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_sessions_come_up_in_spite_of_the_line(tmp_path: Path, seed: int) -> None:
    """A quarter of all packets is lost, in both directions, of the handshake as of NMSP."""
    pair = Pair(plan_of(tmp_path), seed)
    pair.set(0.25, 0.1, 0.1)

    async def body() -> None:
        async with pair.running():
            await pair.all_up()
            pair.set(0, 0, 0)

    run(body)
    assert sum(line.done["lost"] for line in pair.lines) > 10
    assert pair.mses.counters()["sessions.established"] == 6
    assert pair.mses.counters()["sessions.failed"] == 0
    assert pair.mses.counters()["messages.retransmitted"] > 0
    assert pair.wlcs.errors() == pair.mses.errors() == {}


@pytest.mark.parametrize("burst", [1, 30])
@pytest.mark.parametrize("seed", [1, 2])
def test_losses_are_counted_as_the_line_made_them(tmp_path: Path, seed: int, burst: int) -> None:
    pair = Pair(plan_of(tmp_path, f"load.burst={burst}"), seed)
    flows: list[Flow] = []
    lost = late = 0

    def arrived() -> bool:
        """The line has seen everything, and what it let through has been received."""
        came = sum(_notifications(flow, range(len(flow.sizes))) for flow in flows)
        passed = sum(_notifications(flow, flow.passed) for flow in flows)
        return (came, passed) == (3 * 600, pair.mses.counters()["notify.received"])

    async def body() -> None:
        nonlocal lost, late
        async with pair.running():
            await pair.all_up()
            flows.extend(flow for line in pair.lines for flow in line.to_mse.values())
            # Only notifications are treated badly: the line could not tell what other datagrams are.
            pair.set(0.1, 0.1, 0.1, only_large=FRAME_BYTES + RECORD_BYTES)
            await pair.load()
            await until(arrived)
            for flow in flows:  # not even goodbyes let go what is still held back
                flow.held.clear()
            lost = sum(_notifications(flow, flow.lost()) for flow in flows)
            late = sum(_notifications(flow, flow.late()) for flow in flows)

    run(body)
    wlc, mse = pair.wlcs.counters(), pair.mses.counters()
    assert wlc["notify.sent"] == 3 * 600
    assert lost > 20
    assert mse["notify.lost"] == lost
    # DTLS lets no record in twice, so that nothing is received again, however often the line repeats it.
    assert sum(line.done["repeated"] for line in pair.lines) > 10
    assert mse["notify.duplicated"] == 0
    assert late > 10
    assert mse["notify.reordered"] == late
    assert pair.wlcs.errors() == pair.mses.errors() == {}
    _check_sizes(pair)


def test_what_is_said_behind_a_repeated_flight_is_heard_at_once(tmp_path: Path) -> None:
    """Every packet of the handshake comes twice, so that OpenSSL says its last flight again when it is asked to say
    something. In one datagram with that, what is behind it would be left at the other OpenSSL until more came.
    """
    pair = Pair(plan_of(tmp_path, "session.response_timeout=30s"), 1)
    pair.set(0, 1, 0)

    async def body() -> None:
        async with pair.running():
            await pair.all_up()

    run(body)
    assert sum(line.done["repeated"] for line in pair.lines) > 50
    assert pair.mses.counters()["messages.retransmitted"] == pair.wlcs.counters()["messages.repeated"] == 0
    assert pair.wlcs.errors() == pair.mses.errors() == {}


def test_what_is_too_late_for_dtls_is_lost(tmp_path: Path) -> None:
    """OpenSSL remembers 64 records; an older one might be a repetition, and is dropped."""
    pair = Pair(plan_of(tmp_path, "wlc.count=1", "mse.count=1", "wlc.readings=16"), 5)
    shown = 0

    async def body() -> None:
        nonlocal shown
        async with pair.running():
            await pair.all_up()
            (line,) = pair.lines
            line.hold_for = 80
            pair.set(0, 0, 0.02, only_large=LARGE_BYTES + RECORD_BYTES)
            await pair.load()
            (flow,) = line.to_mse.values()
            await until(lambda: _notifications(flow, range(len(flow.sizes)), LARGE_BYTES) == 600)
            held = _notifications(flow, flow.delayed, LARGE_BYTES)
            # Behind those that are held at the very end nothing comes that would show it.
            last = max(set(range(len(flow.sizes))) - set(flow.delayed))
            shown = _notifications(flow, [number for number in flow.delayed if number < last], LARGE_BYTES)
            await until(lambda: pair.mses.counters()["notify.received"] == 600 - held)

    run(body)
    assert shown > 3
    assert pair.mses.counters()["notify.lost"] == shown
    assert pair.mses.counters()["notify.reordered"] == 0
