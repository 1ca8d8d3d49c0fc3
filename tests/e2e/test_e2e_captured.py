"""`--keylog` and a capture of the same run: what was sent is what the capture gives back."""

from __future__ import annotations

import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from e2e_loadgen import PATIENCE_S, Identities, Start
from ports import free_port
from test_e2e_two_sides import LONG, write_scenario

from loadgen.capture.events import How
from loadgen.capture.keylog import TunnelKeys
from loadgen.capture.reading import events_of
from loadgen.capture.streams import collect
from loadgen.capture.tls import Undecrypted, decrypted
from loadgen.capture.writing import TunnelWriter, file_header
from loadgen.nmsp.codec import Codec
from loadgen.nmsp.messages import Kind
from loadgen.nmsp.profile import reference_profile


class Tap:
    """Passes on what comes to one address to another, and writes it down as packets."""

    def __init__(self, address: tuple[str, int], target: tuple[str, int]) -> None:
        self.blocks: list[bytes] = []
        self._target = target
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(address)
        self._sockets = [self._listener]
        self._begin(self._accept)

    def _begin(self, run: object, *arguments: object) -> None:
        self._threads.append(threading.Thread(target=run, args=arguments, daemon=True))  # type: ignore[arg-type]
        self._threads[-1].start()

    def _accept(self) -> None:
        with suppress(OSError):  # when it is closed
            while True:
                client, address = self._listener.accept()
                server = socket.create_connection(self._target, PATIENCE_S)
                self._sockets += [client, server]
                tunnel = TunnelWriter(address, self._target)
                self._write(tunnel.open(time.time_ns()))
                self._begin(self._pass, tunnel, True, client, server)
                self._begin(self._pass, tunnel, False, server, client)

    def _pass(self, tunnel: TunnelWriter, of_client: bool, source: socket.socket, sink: socket.socket) -> None:
        source.settimeout(PATIENCE_S)
        with suppress(OSError):
            while data := source.recv(1 << 16):
                with self._lock:
                    self.blocks.append(tunnel.data(of_client, time.time_ns(), data))
                sink.sendall(data)
        with self._lock:
            self.blocks.append(tunnel.close(of_client, time.time_ns(), How.FIN))
        with suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

    def _write(self, blocks: bytes) -> None:
        with self._lock:
            self.blocks.append(blocks)

    def end(self) -> None:
        """When both sides have gone."""
        self._listener.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(PATIENCE_S)
            assert not thread.is_alive()
        for each in self._sockets:
            each.close()


@contextmanager
def tapped(hosts: list[str], targets: list[str], port: int) -> Iterator[list[bytes]]:
    """Blocks that there are when it has ended."""
    taps = [Tap((host, port), (target, port)) for host, target in zip(hosts, targets, strict=True)]
    blocks: list[bytes] = [file_header(application="test", interface="wire", description="as it was")]
    try:
        yield blocks
    finally:
        for tap in taps:
            tap.end()
            blocks += tap.blocks


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_a_captured_run_is_read_with_its_key_log(
    start: Start, tmp_path: Path, identities: Identities, version: str
) -> None:
    port = free_port("127.77.72.1")
    hosts, taps = ([f"127.77.{net}.{number}" for number in (1, 2, 3, 4)] for net in (72, 73))
    scenario = write_scenario(tmp_path, identities, f"{hosts[0]}:{port}")
    log = tmp_path / "keys.log"
    option = ("--set", f'tls.version="{version}"')
    wlc = start("run", scenario, "--serve", "wlc", *option, *LONG)
    wlc.wait_for_listener(*((host, port) for host in hosts))
    with tapped(taps, hosts, port) as blocks:
        target = ",".join(f"{host}:{port}" for host in taps)
        mse = start("run", scenario, *option, "--duration", "500ms", "--target", f"wlc={target}", "--keylog", log)
        ended = mse.end()
        wlc.signal(signal.SIGINT)
        wlc.end()
    ended.check_passed()

    undecrypted: list[Undecrypted] = []
    keys = TunnelKeys(log.read_bytes())
    assert keys.refused == 0
    exchanges = collect(decrypted(events_of([b"".join(blocks)]), keys, undecrypted))
    assert undecrypted == []
    assert len(exchanges) == ended.counters["sessions.established"] == 8
    seen: Counter[Kind] = Counter()
    for exchange in exchanges:
        for stream in (exchange.client, exchange.server):
            assert (stream.holes, stream.ended) == ([], How.FIN)
            ((_, data),) = stream.runs
            seen += kinds_of(bytes(data))
    assert seen[Kind.MEASUREMENT_NOTIFY] == ended.counters["notify.received"] > 0


def kinds_of(data: bytes) -> Counter[Kind]:
    """What a stream of whole frames of the reference profile has."""
    profile = reference_profile()
    framing, codec, view = profile.framing, Codec(profile), memoryview(data)
    found: Counter[Kind] = Counter()
    at = 0
    while at < len(data):
        header = framing.header.struct.unpack_from(data, at)
        size = framing.size_untrusted(header)
        number = framing.id_of(header)
        codec.decode_untrusted(number, view[at + framing.head : at + size - framing.foot])
        found[profile.kinds[number]] += 1
        at += size
    assert at == len(data)
    return found
