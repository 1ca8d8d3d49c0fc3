"""What `loadgen.capture` writes and reads, and what the real tshark says of it."""

from __future__ import annotations

import random
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
import tshark_captures as captures
from capture_samples import (
    CLIENT,
    CLIENT_6,
    SERVER,
    SERVER_6,
    Blocks,
    Talk,
    ethernet,
    fragments,
    holes_in,
    pcap,
    pcapng,
    timed,
)
from tshark_captures import Recording, tshark

from loadgen.capture.events import Address, How
from loadgen.capture.network import SegmentReader
from loadgen.capture.packets import Packet, PacketReader
from loadgen.capture.reading import events_of, secrets_of
from loadgen.capture.streams import collect
from loadgen.capture.tally import Tally
from loadgen.capture.writing import TunnelWriter, file_header
from loadgen.commands.anonymizer import anonymize
from loadgen.commands.options import AnonymizeOptions
from loadgen.nmsp.profile import reference_profile

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

    faults = "_ws.malformed or tcp.analysis.flags or !(tcp.checksum.status == 1) or (ip and !(ip.checksum.status == 1))"
    assert fields(captured, "frame.number", only=faults) == []
    names = (
        *("frame.time_epoch", "frame.interface_description", "tcp.srcport", "tcp.flags", "frame.comment"),
        "tcp.payload",
    )
    packets = fields(captured, *names)
    for of_client, (_, port) in zip((True, False), ends, strict=True):
        read = [bytes.fromhex(payload) for *_, by, _, _, payload in packets if by == str(port)]
        assert b"".join(read) == said[of_client]
    assert packets[0][:3] == [f"{BEGAN_NS // 10**9}.{BEGAN_NS % 10**9:09}", "decrypted by loadgen record", "40001"]
    assert packets[-1][0] == f"{ns // 10**9}.{ns % 10**9 + (2 if how is How.FIN else 1):09}"
    comments = [comment for *_, comment, _ in packets if comment]
    assert comments == ["client é, server", "the MSE left"]
    flags = [int(flag, 0) for *_, flag, _, _ in packets]
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


# -- read --------------------------------------------------------------------------------------------------------------


class Read(NamedTuple):
    """Of a packet that brings a segment: when, from which port, which number, which bytes."""

    ns: int
    port: int
    sequence: int
    payload: bytes


def read_by_tshark(captured: Path) -> list[Read]:
    # What is missing of a packet, and bytes at numbers that it has seen, it shows as they are.
    names = ("frame.time_epoch", "tcp.srcport", "tcp.seq_raw", "tcp.payload")
    found = []
    for time, port, sequence, payload in fields(captured, *names, only="tcp"):
        seconds, rest = time.split(".")
        found.append(Read(int(seconds) * 10**9 + int(rest), int(port), int(sequence), bytes.fromhex(payload)))
    return found


def read_by_us(captured: Path, size: int = 1000) -> list[Read]:
    reader, segments, data = PacketReader(), SegmentReader(Tally()), captured.read_bytes()
    packets = [each for at in range(0, len(data), size) for each in reader.receive(data[at : at + size])]
    reader.finish()
    found = [segments.segment(each) for each in packets if isinstance(each, Packet)]
    return [Read(each.ns, int.from_bytes(each.flow[-4:-2], "big"), each.sequence, each.data) for each in found if each]


def interfaces(one: Talk) -> bytes:
    """Clocks and link types of all kinds, in sections of either order."""
    blocks, packets = Blocks(">"), [part.packet for part in one.parts]
    # Finer ones than 10 ** -10 s tshark reads wrongly (findings/tshark-picoseconds.sh).
    kinds = [(1, 9, None), (101, 6, None), (1, 10, 1_799_990_000), (101, 3, 1_700_000_000), (1, 128 + 20, 5)]
    for section in range(3):
        if section:
            blocks.section("<>"[section % 2])
        for kind in kinds:
            blocks.interface(*kind)
        for at in range(section, len(packets), 3):
            link = kinds[at % 5][0]
            blocks.packet(BEGAN_NS + at * 1_000_003, ethernet(packets[at]) if link == 1 else packets[at], at % 5)
    return bytes(blocks.data)


def fragmented(one: Talk) -> bytes:
    pieces = [fragments(part.packet, 256, at)[::-1] for at, part in enumerate(one.parts)]
    return pcapng(timed([piece for each in pieces for piece in each]))


def shuffled(one: Talk) -> bytes:
    rng = random.Random(1)
    parts = [*one.parts, *(one.again(True, at, at + 1400) for at in range(0, len(one.said[True]), 700))]
    rng.shuffle(parts)
    return pcapng(timed(parts))


CAPTURED: dict[str, Callable[[Talk], bytes]] = {
    "plain": lambda one: pcapng(timed(one.parts)),
    "pcap": lambda one: pcap(timed(one.parts), exact=False),
    "pcap, the other order": lambda one: pcap(timed(one.parts), order=">"),
    "snapshot length": lambda one: pcap(timed(one.parts), most=300),
    "vlan": lambda one: pcap(
        [(ns, each[:12] + b"\x88\xa8\x00\x07\x81\x00\x00\x08" + each[12:]) for ns, each in timed(one.parts)]
    ),
    "interfaces": interfaces,
    "fragments": fragmented,
    "shuffled": shuffled,
}


@pytest.mark.parametrize("name", CAPTURED)
@pytest.mark.parametrize("ends", [(CLIENT, SERVER), (CLIENT_6, SERVER_6)], ids=["ipv4", "ipv6"])
def test_every_segment_is_as_tshark_reads_it(name: str, ends: tuple[Address, Address], tmp_path: Path) -> None:
    if name == "fragments" and ends == (CLIENT_6, SERVER_6):
        ends = (CLIENT, ("192.0.2.9", 16113))
    one = Talk(name, client=ends[0], server=ends[1], first=(2**32 - 900, 70))
    one.bye()
    captured = tmp_path / "captured"
    captured.write_bytes(CAPTURED[name](one))
    found = read_by_us(captured)
    assert found == read_by_tshark(captured)
    assert len(found) >= len(one.parts)


def test_what_editcap_and_mergecap_write(tmp_path: Path) -> None:
    """Converted, with a secrets block before the interface, and merged of three with a link type each."""
    talks = [Talk(at, client=(f"192.0.2.{at}", 40001)) for at in (1, 2, 3)]
    plain, old, raw = (tmp_path / name for name in ("plain.pcapng", "old.pcap", "raw.pcapng"))
    plain.write_bytes(pcapng(timed(talks[0].parts)))
    old.write_bytes(pcap(timed(talks[1].parts), exact=False))
    raw.write_bytes(pcapng([(ns, each[14:]) for ns, each in timed(talks[2].parts)], link=101))
    log = tmp_path / "keys.log"
    log.write_bytes(b"CLIENT_RANDOM " + b"ab" * 32 + b" " + b"cd" * 48 + b"\n")
    with_keys, merged = tmp_path / "keys.pcapng", tmp_path / "merged.pcapng"
    called("editcap", "--inject-secrets", f"tls,{log}", plain, with_keys)
    called("mergecap", "-w", merged, with_keys, old, raw)
    assert list(secrets_of([with_keys.read_bytes()])) == [log.read_bytes()]
    assert list(secrets_of([merged.read_bytes()])) == [log.read_bytes()]
    assert read_by_us(merged) == read_by_tshark(merged)
    exchanges = collect(events_of([merged.read_bytes()]))
    assert sorted(bytes(each.client.runs[0][1]) for each in exchanges) == sorted(one.said[True] for one in talks)

    for kind in ("pcap", "nsecpcap", "pcapng"):
        converted = tmp_path / f"converted.{kind}"
        called("editcap", "-F", kind, "-s", "400", raw, converted)
        assert read_by_us(converted) == read_by_tshark(converted)
        holes = holes_in(events_of([converted.read_bytes()]))
        assert sum(length or 0 for _, _, length in holes) == sum(
            max(len(part.data) - 360, 0) for part in talks[2].parts
        )


def test_what_dumpcap_writes_of_real_ends(tmp_path: Path) -> None:
    """Over loopback: packets of 64 KiB, and checksums left to a card that there is not."""
    rng, said = random.Random(1), (bytearray(), bytearray())
    captured = tmp_path / "real.pcapng"
    with Recording(captured, "127.0.77.0/24"), socket.create_server(("127.0.77.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname(), source_address=("127.0.77.2", 0))
        server, _ = listener.accept()
        with client, server:
            for _ in range(100):
                side = rng.random() < 0.5
                data = rng.randbytes(rng.choice([1, 20, 3000, 60_000]))
                (client if side else server).sendall(data)
                said[side].extend(data)
                read_from, left = server if side else client, len(data)
                while left:
                    left -= len(read_from.recv(left))
        port = listener.getsockname()[1]
    # Somebody else may be on this loopback, too.
    exchanges = collect(events_of([captured.read_bytes()], port=port))
    (exchange,) = (each for each in exchanges if port in each.conversation.server)
    assert exchange.conversation.server == ("127.0.77.1", port)
    assert exchange.client.runs == [(0, said[True])]
    assert exchange.server.runs == [(0, said[False])]
    assert read_by_us(captured) == read_by_tshark(captured)


def called(*words: object) -> None:
    done = subprocess.run([*map(str, words)], capture_output=True, timeout=captures.PATIENCE_S, check=False)
    assert done.returncode == 0, done.stderr.decode()


# -- without names -----------------------------------------------------------------------------------------------------


def test_a_capture_without_names_is_one_without_fault(tmp_path: Path) -> None:
    """Of all messages of the reference profile; tshark names them with the dissector of the same profile."""
    profile = reference_profile()
    tunnel, ns = TunnelWriter(*IPV6), BEGAN_NS
    parts, sent = (
        [file_header(**HEADER), tunnel.open(ns)],
        [captures.sample(profile, kind, seed) for kind in profile.layouts for seed in (1, 2)],
    )
    for each in sent:
        ns += 1_000_000
        parts.append(tunnel.data(not each.by_wlc, ns, each.frame))
    parts += [tunnel.close(way, ns, How.FIN) for way in (True, False)]
    source, out = tmp_path / "in.pcapng", tmp_path / "out.pcapng"
    source.write_bytes(b"".join(parts))
    result = anonymize(AnonymizeOptions(source, out, profile=Path("reference")))
    assert (result.count.frames, result.count.unknown_frames, result.count.left_out) == (len(sent), 0, 0)
    faults = "_ws.malformed or tcp.analysis.flags or !(tcp.checksum.status == 1)"
    assert fields(out, "frame.number", only=faults) == []
    decoded = ("-d", f"tcp.port=={IPV6[1][1]},nmsp")
    before, after = (captures.dissect(profile, path, *decoded) for path in (source, out))
    assert [each.number("msg_id") for each in after] == [each.number("msg_id") for each in before]
    assert len(after) == len(sent)
    assert [each.experts for each in after] == [each.experts for each in before]
