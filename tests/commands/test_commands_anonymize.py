"""`loadgen record anonymize`: what comes out is what went in, with other names."""

from __future__ import annotations

import random
import stat
from ipaddress import ip_address
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from msgspec.structs import replace
from tls_sessions import contexts, session

from loadgen.capture.anonymous import Pseudonyms
from loadgen.capture.events import Address, How
from loadgen.capture.reading import events_of
from loadgen.capture.streams import Exchange, collect
from loadgen.capture.tally import Tally
from loadgen.capture.writing import TunnelWriter, file_header
from loadgen.cli.record import record
from loadgen.errors import InputError
from loadgen.nmsp.codec import Codec
from loadgen.nmsp.messages import ClientInfoNotify, EchoRequest, EchoResponse, MeasurementNotify, Message
from loadgen.nmsp.profile import reference_profile
from loadgen.nmsp.records import ClientInfo, Reading

BEGAN_NS = 1_800_000_000_123_456_789
MSE: Address = ("198.51.100.1", 40001)
WLC: Address = ("198.51.100.77", 16113)
KEY = b"sixteen bytes or more"
NAMES = Pseudonyms(KEY)
CODEC = Codec(reference_profile())


def measured(sequence: int, station: bytes) -> MeasurementNotify:
    readings = tuple(Reading(bytes((0, 0x41, 0, 0, 0, ap)), rssi_a=-50 - ap) for ap in range(3))
    return MeasurementNotify(
        sequence=sequence, due_ns=1, sent_ns=2, station_mac=station, subservice=0, readings=readings
    )


def macs(count: int) -> list[bytes]:
    return [bytes((2, 0x53, 0)) + number.to_bytes(3, "big") for number in range(count)]


STREAM: list[tuple[bool, Message]] = [
    (True, EchoRequest()),
    (False, EchoResponse()),
    *[(False, measured(number, mac)) for number, mac in enumerate(macs(20))],
    (True, EchoRequest()),
]


def written(path: Path, said: list[tuple[bool, bytes]], client: Address = MSE, server: Address = WLC) -> Path:
    """A capture of one tunnel, its bytes in packets of any size."""
    writer, ns, rng = TunnelWriter(client, server), BEGAN_NS, random.Random(1)
    header = file_header(application="test", interface="tunnel", description="of a test", comment="a secret comment")
    parts = [header, writer.open(ns, "another")]
    for of_client, data in said:
        while data:
            ns, size = ns + 1_000_000, rng.randint(1, 90)
            parts.append(writer.data(of_client, ns, data[:size]))
            data = data[size:]
    parts += [writer.close(way, ns + 1, How.FIN) for way in (True, False)]
    path.write_bytes(b"".join(parts))
    return path


def frames() -> list[tuple[bool, bytes]]:
    return [(of_client, CODEC.encode(message, number)) for number, (of_client, message) in enumerate(STREAM)]


def run(folder: Path, source: Path, *options: object) -> tuple[Result, list[Exchange], Tally]:
    (folder / "key").write_bytes(KEY)
    words = ["anonymize", str(source), str(folder / "out.pcapng"), "--key", str(folder / "key"), *map(str, options)]
    result = CliRunner().invoke(record, words, standalone_mode=False, catch_exceptions=False)
    tally = Tally()
    return result, collect(events_of([(folder / "out.pcapng").read_bytes()], tally=tally)), tally


def other_address(address: str) -> str:
    return str(ip_address(NAMES.address(ip_address(address).packed)))


def test_all_that_a_profile_names_is_replaced_and_nothing_else(tmp_path: Path) -> None:
    source = written(tmp_path / "in.pcapng", frames())
    result, (exchange,), tally = run(tmp_path, source, "--profile", "reference")
    expected = {True: b"", False: b""}
    for number, (of_client, message) in enumerate(STREAM):
        if isinstance(message, MeasurementNotify):
            readings = tuple(replace(each, ap_mac=NAMES.mac(each.ap_mac)) for each in message.readings)
            message = replace(message, station_mac=NAMES.mac(message.station_mac), readings=readings)
        expected[of_client] += CODEC.encode(message, number)
    assert exchange.client.runs == [(0, expected[True])]
    assert exchange.server.runs == [(0, expected[False])]
    assert exchange.conversation.client == (other_address(MSE[0]), MSE[1])
    assert exchange.conversation.server == (other_address(WLC[0]), WLC[1])
    assert (exchange.client.ended, exchange.server.ended) == (How.FIN, How.FIN)
    assert "1 conversations; 80 MACs, addresses and texts inside replaced\n23 frames\n" in result.output
    out = (tmp_path / "out.pcapng").read_bytes()
    assert stat.S_IMODE((tmp_path / "out.pcapng").stat().st_mode) == 0o600
    assert b"secret" not in out
    assert not any(mac in out for mac in [*macs(20), ip_address(MSE[0]).packed, ip_address(WLC[0]).packed])
    assert tally.malformed == 0


def test_addresses_and_texts_too(tmp_path: Path) -> None:
    address = bytes(10) + b"\xff\xff" + ip_address("203.0.113.9").packed
    one = ClientInfo(macs(1)[0], address=address, user_name="Anna.Müller", ssid="guests-2")
    message = ClientInfoNotify(subservice=1, records=(one, one))
    source = written(tmp_path / "in.pcapng", [(False, CODEC.encode(message, 0))])
    _, (exchange,), _ = run(tmp_path, source, "--profile", "reference")
    other = replace(
        one,
        station_mac=NAMES.mac(one.station_mac),
        address=NAMES.address(address),
        user_name=NAMES.text("Anna.Müller".encode()).decode(),
        ssid=NAMES.text(b"guests-2").decode(),
    )
    assert exchange.server.runs == [(0, CODEC.encode(replace(message, records=(other, other)), 0))]


@pytest.mark.parametrize("keeps", [True, False])
def test_what_the_profile_does_not_know_is_blanked_unless_it_is_to_be_kept(tmp_path: Path, keeps: bool) -> None:
    frame = bytearray(CODEC.encode(EchoRequest(), 7))
    framing = reference_profile().framing
    frame[framing.head : framing.head] = b"\2\x53\1\2\3\4"
    framing.header.field_struct("msg_id").pack_into(frame, framing.header.offsets["msg_id"], 9999)
    framing.header.field_struct("length").pack_into(frame, framing.header.offsets["length"], len(frame) - framing.added)
    source = written(tmp_path / "in.pcapng", [(True, bytes(frame)), *frames()])
    result, (exchange,), _ = run(tmp_path, source, "--profile", "reference", *(["--keep-unknown"] if keeps else []))
    blank = bytes(frame) if keeps else bytes(frame).replace(b"\2\x53\1\2\3\4", bytes(6))
    assert exchange.client.runs[0][1].startswith(blank)
    assert "1 of them unknown to the profile" in result.output
    assert ("6 bytes that the profile does not know are zeros now" in result.output) != keeps


def test_what_is_no_nmsp_is_left_out(tmp_path: Path) -> None:
    source = written(tmp_path / "in.pcapng", [(True, b"GET / HTTP/1.0\r\n\r\n"), (False, b"anything at all, " * 9)])
    result, (exchange,), _ = run(tmp_path, source, "--profile", "reference")
    assert (exchange.client.runs, exchange.server.runs) == ([], [])
    assert "171 bytes in no whole frame, or behind a hole, are left out" in result.output


def test_without_a_profile_what_is_listed(tmp_path: Path) -> None:
    known, station = "198.51.100.77", macs(3)[2]
    said = [
        (True, b"hello " + station + b"!" + ip_address(known).packed),
        (False, station.hex(":").encode() + macs(2)[1]),
    ]
    source = written(tmp_path / "in.pcapng", said)
    (tmp_path / "list").write_text(f"# ours\n{station.hex('-')} # a station\n\n{known}\n2001:db8::1\n")
    result, (exchange,), _ = run(tmp_path, source, "--list", tmp_path / "list")
    other = NAMES.mac(station)
    assert exchange.client.runs == [(0, b"hello " + other + b"!" + NAMES.address(ip_address(known).packed))]
    assert exchange.server.runs == [(0, other.hex(":").encode() + macs(2)[1])]
    assert "1 conversations; 3 MACs, addresses and texts inside replaced" in result.output


@pytest.mark.parametrize("ends", [(("2001:db8::1", 1), ("2001:db8::2", 2)), (("10.0.0.1", 1), ("10.0.0.2", 2))])
def test_ends_of_both_families(tmp_path: Path, ends: tuple[Address, Address]) -> None:
    source = written(tmp_path / "in.pcapng", frames(), *ends)
    _, (exchange,), _ = run(tmp_path, source, "--profile", "reference")
    assert [exchange.conversation.client, exchange.conversation.server] == [
        (other_address(address), port) for address, port in ends
    ]


@pytest.mark.parametrize("how", ["profile", "list"])
def test_a_hole_stays_one(tmp_path: Path, how: str) -> None:
    writer, (first, second) = TunnelWriter(MSE, WLC), (frame for way, frame in frames()[2:4])
    parts = [file_header(application="t", interface="t", description="t"), writer.open(BEGAN_NS)]
    parts.append(writer.data(False, BEGAN_NS, first))
    writer.skip(False, 100)
    parts += [writer.data(False, BEGAN_NS, second), writer.close(False, BEGAN_NS, How.FIN)]
    source = tmp_path / "in.pcapng"
    source.write_bytes(b"".join(parts))
    (tmp_path / "list").write_text(macs(1)[0].hex())
    _, (exchange,), _ = run(tmp_path, source, f"--{how}", "reference" if how == "profile" else tmp_path / "list")
    if how == "list":
        assert exchange.server.holes == [(len(first), 100)]
        assert [start for start, _ in exchange.server.runs] == [0, len(first) + 100]
    else:
        # Where the next frame begins is not certain.
        assert [(start, len(data)) for start, data in exchange.server.runs] == [(0, len(first))]
        assert exchange.server.ended is How.CUT


def test_what_was_encrypted_is_plaintext_then(tmp_path: Path) -> None:
    tunnel = session(contexts("1.3")).shake()
    for of_client, frame in frames():
        tunnel.say(of_client, frame)
    source = written(tmp_path / "in.pcapng", tunnel.wire)
    plain = written(tmp_path / "plain.pcapng", frames())
    expected = run(tmp_path, plain, "--profile", "reference")[1][0]
    result, (exchange,), _ = run(tmp_path, source, "--profile", "reference", "--force")
    assert (exchange.client.runs, exchange.server.runs) == ([], [])
    assert "not decrypted, the key log lacks lines" in result.stderr
    (tmp_path / "keys.log").write_bytes(tunnel.keylog)
    keylog = ["--keylog", tmp_path / "keys.log"]
    _, (exchange,), _ = run(tmp_path, source, "--profile", "reference", "--force", *keylog)
    assert (exchange.client.runs, exchange.server.runs) == (expected.client.runs, expected.server.runs)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], "--profile or --list: expected one of them, found neither"),
        (["--profile", "reference", "--list", "list"], "--profile or --list: expected one of them, found both"),
        (["--list", "list"], 'list, line 2: expected a MAC or an IP address, found "x"'),
        (["--list", "nothing"], "nothing: expected MACs and IP addresses, one in a line, found no such file"),
        (["--profile", "reference", "--key", "short"], "short: expected a key of at least 16 bytes, found 3 bytes"),
    ],
)
def test_bad_options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], expected: str) -> None:
    monkeypatch.chdir(tmp_path)
    written(tmp_path / "in.pcapng", frames())
    (tmp_path / "list").write_text("0050.569c.3489\nx\n")
    (tmp_path / "short").write_text("abc")
    with pytest.raises(InputError, match=expected):
        CliRunner().invoke(
            record, ["anonymize", "in.pcapng", "out.pcapng", *options], standalone_mode=False, catch_exceptions=False
        )
    assert not (tmp_path / "out.pcapng").exists()


def test_a_file_that_is_there_stays_and_what_is_no_capture_is_said(tmp_path: Path) -> None:
    source = written(tmp_path / "in.pcapng", frames())
    (tmp_path / "out.pcapng").write_text("mine")
    with pytest.raises(InputError, match="no file there yet, or --force"):
        run(tmp_path, source, "--profile", "reference")
    assert (tmp_path / "out.pcapng").read_text() == "mine"
    source.write_text("a diary, and no capture")
    with pytest.raises(InputError, match="expected a capture, pcap or pcapng"):
        run(tmp_path, source, "--profile", "reference", "--force")
    with pytest.raises(InputError, match="expected a capture that can be read, found no such file"):
        run(tmp_path, tmp_path / "missing", "--profile", "reference", "--force")
