"""What `loadgen.capture` writes and reads, and what the real tshark says of it."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import tshark_captures as captures
from tshark_captures import tshark

from loadgen.capture.events import Address, How
from loadgen.capture.writing import TunnelWriter, file_header

pytestmark = pytest.mark.skipif(not captures.HAS_TSHARK, reason=captures.WHY_NOT)

BEGAN_NS = 1_800_000_000_123_456_789
IPV4: tuple[Address, Address] = (("192.0.2.1", 40001), ("192.0.2.7", 16113))
IPV6: tuple[Address, Address] = (("2001:db8::1", 40001), ("2001:db8::7", 16113))
MIXED: tuple[Address, Address] = (("192.0.2.1", 40001), ("2001:db8::7", 16113))
HEADER = {"application": "loadgen", "interface": "tunnel", "description": "decrypted by loadgen record"}
CHECKED = ("-o", "tcp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE")


def fields(captured: Path, *names: str, only: str = "") -> list[list[str]]:
    """Of each packet some fields."""
    chosen = [word for name in names for word in ("-e", name)]
    listed = tshark("-r", captured, *CHECKED, *(("-Y", only) if only else ()), "-T", "fields", *chosen)
    return [line.split("\t") for line in listed.splitlines()]


# -- written -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ends", [IPV4, IPV6, MIXED], ids=["ipv4", "ipv6", "mixed"])
@pytest.mark.parametrize("how", [How.FIN, How.RESET])
def test_a_written_tunnel_is_a_connection_without_fault(
    tmp_path: Path, ends: tuple[Address, Address], how: How
) -> None:
    rng = random.Random(f"{ends} {how}")
    tunnel, ns = TunnelWriter(*ends), BEGAN_NS
    parts, said = [file_header(**HEADER), tunnel.open(ns, "client é, server")], {True: b"", False: b""}
    for _ in range(60):
        ns += rng.randrange(2_000_000)
        of_client, data = rng.random() < 0.3, rng.randbytes(rng.choice([1, 5, 300, 32_767, 32_768, 70_000]))
        parts.append(tunnel.data(of_client, ns, data))
        said[of_client] += data
    parts += [tunnel.close(True, ns + 1, how, "the MSE left"), tunnel.close(False, ns + 2, how)]
    captured = tmp_path / "tunnel.pcapng"
    captured.write_bytes(b"".join(parts))

    faults = "_ws.malformed or tcp.analysis.flags or !(tcp.checksum.status == 1)"
    assert fields(captured, "frame.number", only=faults) == []
    assert fields(captured, "frame.number", only="ip and !(ip.checksum.status == 1)") == []
    for of_client, (_, port) in zip((True, False), ends, strict=True):
        read = fields(captured, "tcp.payload", only=f"tcp.srcport == {port} and tcp.len > 0")
        assert b"".join(bytes.fromhex(payload) for (payload,) in read) == said[of_client]
    first, *_, last = fields(captured, "frame.time_epoch", "frame.interface_description", "tcp.srcport")
    assert first == [f"{BEGAN_NS // 10**9}.{BEGAN_NS % 10**9:09}", "decrypted by loadgen record", "40001"]
    assert last[0] == f"{ns // 10**9}.{ns % 10**9 + (2 if how is How.FIN else 1):09}"
    comments = [comment for (comment,) in fields(captured, "frame.comment") if comment]
    assert comments == ["client é, server", "the MSE left"]
    flags = [int(flag, 0) for (flag,) in fields(captured, "tcp.flags")]
    assert flags[:3] == [0x002, 0x012, 0x010]
    assert flags[-4:] == [0x011, 0x010, 0x011, 0x010] if how is How.FIN else flags[-1] == 0x014


def test_many_tunnels_are_as_many_streams_and_one_on_the_same_ports_another(tmp_path: Path) -> None:
    tunnels = [TunnelWriter((f"192.0.2.{number}", 40001), ("192.0.2.200", 16113)) for number in range(1, 40)]
    parts = [file_header(**HEADER)] + [tunnel.open(BEGAN_NS) for tunnel in tunnels]
    parts += [tunnel.data(False, BEGAN_NS + 1, b"x%d" % at) for at, tunnel in enumerate(tunnels)]
    parts += [tunnel.close(False, BEGAN_NS + 2, How.RESET) for tunnel in tunnels]
    again = TunnelWriter(("192.0.2.1", 40001), ("192.0.2.200", 16113))
    parts += [again.open(BEGAN_NS + 10**9), again.data(True, BEGAN_NS + 10**9, b"again")]
    captured = tmp_path / "tunnels.pcapng"
    captured.write_bytes(b"".join(parts))
    said = {stream: bytes.fromhex(data) for stream, data in fields(captured, "tcp.stream", "tcp.payload") if data}
    assert said == {str(at): b"x%d" % at for at in range(39)} | {"39": b"again"}


def test_sequence_numbers_wrap(tmp_path: Path) -> None:
    """The clock of initial numbers is near its end: the stream goes on beyond."""
    ns = ((1 << 32) * 104_000 - 10_000) * 4_000  # a number of the client is 10,000 before its end
    tunnel = TunnelWriter(*IPV4)
    parts = [file_header(**HEADER), tunnel.open(ns), *(tunnel.data(True, ns, bytes(10_000)) for _ in range(30))]
    captured = tmp_path / "wrapped.pcapng"
    captured.write_bytes(b"".join(parts))
    raw = [int(number) for (number,) in fields(captured, "tcp.seq_raw", only="tcp.srcport == 40001")]
    assert min(raw) < 1 << 20 < 1 << 31 < max(raw)
    assert fields(captured, "frame.number", only="_ws.malformed or tcp.analysis.flags") == []
