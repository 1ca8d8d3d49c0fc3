"""A client whose first hello cannot be met: it is told why, and is one failure, however often it asks."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
import trio
import trio.testing
from dtls_samples import MSE_IDENTITY, Wlcs, hello_with_cookie, plan_of, run, until
from OpenSSL import SSL

from loadgen.scenario.plan import Use
from loadgen.transport.contexts import client_context
from loadgen.transport.dtls import Association, DatagramContext, dial, listen
from loadgen.transport.tls import TransportFault

DTLS1_0 = 0xFEFF
ALERT = 21


def stranger(how: str) -> SSL.Context:
    """Of a client that has no suite in common with us, or no version."""
    pems = (MSE_IDENTITY.key_pem, MSE_IDENTITY.certificate_pem, b"")
    context = client_context(*pems, "1.2", None, strong=how != "suite", make=DatagramContext)
    if how == "version":
        SSL.Context.set_min_proto_version(context, DTLS1_0)
        SSL.Context.set_max_proto_version(context, DTLS1_0)
        context.set_cipher_list(b"DEFAULT:@SECLEVEL=0")
    return context


@pytest.mark.parametrize(
    ("how", "alert", "kind"),
    [("suite", "handshake_failure", "no_shared_cipher"), ("version", "protocol_version", "unsupported_protocol")],
)
def test_it_is_told_why(tmp_path: Path, how: str, alert: str, kind: str) -> None:
    plan = plan_of(tmp_path, "wlc.count=1", "mse.count=1", use=Use.SERVE_WLC)

    async def body() -> None:
        sock = listen(("127.0.0.1", 0))
        wlcs = Wlcs(plan, [sock])
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wlcs.driver.run)
            channel = dial(sock.getsockname(), stranger(how))
            association = Association(channel, 1500)
            with pytest.raises(TransportFault) as told:
                await association.handshake(50, 20)
            assert told.value.kind == f"alert_{alert}"
            association.close()
            channel.endpoint.close()
            wlcs.driver.finish()
        assert wlcs.errors() == {f"errors.accept.{kind}": 1}  # as over TLS
        assert wlcs.recorder.counters["accept.fail"] == wlcs.recorder.counters["sessions.failed"] == 1

    run(body)


def test_one_that_asks_again_and_again_is_told_again_and_counts_once(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, "wlc.count=1", "mse.count=1", use=Use.SERVE_WLC)

    async def body() -> None:
        listener = listen(("127.0.0.1", 0))
        wlcs = Wlcs(plan, [listener])
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wlcs.driver.run)
            for client in range(2):
                with trio.socket.socket(type=socket.SOCK_DGRAM) as sock:
                    await sock.connect(listener.getsockname())
                    hello = await hello_with_cookie(sock, stranger("suite"))
                    for _ in range(3):
                        await sock.send(hello)
                        assert (await sock.recv(2000))[0] == ALERT
                        await trio.testing.wait_all_tasks_blocked()
                        await until(lambda: not wlcs.driver.links)
                assert wlcs.recorder.counters["accept.attempts"] == client + 1
            wlcs.driver.finish()
        assert wlcs.errors() == {"errors.accept.no_shared_cipher": 2}

    run(body)
