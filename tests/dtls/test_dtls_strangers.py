"""Clients that begin an association and say nothing more: they have a budget, and good peers come up all the same."""

from __future__ import annotations

import contextlib
import gc
import socket
from pathlib import Path

import pytest
import trio
from dtls_samples import Wlcs, hello_with_cookie, mse_context, plan_of, run, until

from loadgen.drive import strangers
from loadgen.scenario.plan import Use
from loadgen.transport.dtls import Association, dial, listen


def associations() -> int:
    """How many there are in this process, whoever still holds them."""
    return sum(isinstance(each, Association) for each in gc.get_objects())


async def begin(wlcs: Wlcs, address: tuple[str, int], stack: contextlib.AsyncExitStack, count: int) -> None:
    """So many clients, each from an address of its own, that prove that they are there, and say nothing more."""
    for number in range(1, count + 1):
        stranger = stack.enter_context(trio.socket.socket(type=socket.SOCK_DGRAM))
        await stranger.connect(address)
        await stranger.send(await hello_with_cookie(stranger, mse_context()))
        await until(lambda number=number: wlcs.recorder.counters["accept.attempts"] == number)
        assert len(wlcs.driver.strangers) == min(number, 3)  # the one that is planned, and two more


def test_half_open_associations_have_a_budget(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strangers, "MOST_STRANGERS", 2)
    plan = plan_of(tmp_path, "wlc.count=1", "mse.count=1", use=Use.SERVE_WLC)

    async def body() -> None:
        sock = listen(("127.0.0.1", 0))
        wlcs = Wlcs(plan, [sock])
        async with trio.open_nursery() as nursery, contextlib.AsyncExitStack() as stack:
            nursery.start_soon(wlcs.driver.run)
            await begin(wlcs, sock.getsockname(), stack, 7)
            await until(lambda: len(wlcs.driver.links) == 3)
            assert wlcs.errors() == {"errors.accept.silent": 4}
            channel = dial(sock.getsockname(), mse_context())
            association = Association(channel, 1500)
            await association.handshake(50, 1)
            await until(lambda: wlcs.recorder.counters["accept.success"] == 1)
            assert len(wlcs.driver.strangers) == 2
            association.close()
            channel.endpoint.close()
            wlcs.driver.finish()
        assert wlcs.recorder.counters["accept.fail"] == 5

    run(body)


def test_nothing_is_left_of_an_association_that_had_to_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a flood of them takes is what the budget takes, however many there were."""
    monkeypatch.setattr(strangers, "MOST_STRANGERS", 2)
    plan = plan_of(tmp_path, "wlc.count=1", "mse.count=1", use=Use.SERVE_WLC)

    async def body() -> None:
        sock = listen(("127.0.0.1", 0))
        wlcs = Wlcs(plan, [sock])
        gc.collect()
        before = associations()
        async with trio.open_nursery() as nursery, contextlib.AsyncExitStack() as stack:
            nursery.start_soon(wlcs.driver.run)
            await begin(wlcs, sock.getsockname(), stack, 12)
            await until(lambda: len(wlcs.driver.links) == 3)
            gc.collect()
            assert associations() - before == 3
            wlcs.driver.finish()

    run(body)
