"""Captures of NMSP that the tests make, what tshark says of them, and what our own codec says of the same frames."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import socket
import struct
import subprocess
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from ipaddress import IPv6Address
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from OpenSSL import SSL

from loadgen.identity.credentials import new_key, self_signed
from loadgen.identity.mac import local_mac
from loadgen.nmsp.catalogue import KIND_OF
from loadgen.nmsp.codec import Codec
from loadgen.nmsp.messages import Kind, Message, Role
from loadgen.nmsp.parts import Elements, Record, Section
from loadgen.nmsp.profile import WireProfile
from loadgen.report.dissector import dissector
from loadgen.transport.contexts import client_context, server_context
from loadgen.transport.key_log import KeyLog

PATIENCE_S = 120
PORT = 16113
WLC, MSE = ("192.0.2.7", PORT), ("192.0.2.1", 40001)
HAS_TSHARK = shutil.which("tshark") is not None
WHY_NOT = "needs Debian's tshark"
# Raw IPv4, without Ethernet: tshark needs no more.
_LINKTYPE_RAW = 101
_TEXT = "aZ09 -_.é漢"


class Sent(NamedTuple):
    """One frame and what it was made of. by_wlc: who sent it."""

    message: Message
    kind: Kind
    transaction: int
    frame: bytes
    by_wlc: bool


class Packet(NamedTuple):
    """Of which stream of the capture, and who sent it."""

    stream: int
    by_wlc: bool


class Dissected(NamedTuple):
    """What tshark says of one frame. leaves: by name; records: the same of each record in it."""

    packet: Packet
    leaves: dict[str, list[ET.Element]]
    records: list[Dissected]
    experts: list[str]

    def number(self, name: str) -> int:
        (field,) = self.leaves[name]
        return int(field.get("show", ""), 0)


# -- frames ------------------------------------------------------------------------------------------------------------


def sample(profile: WireProfile, kind: Kind, seed: int, transaction: int = 0) -> Sent:
    """A message of a kind, of random values that fit its fields; as its receiver reads it."""
    rng = random.Random(f"{profile.digest} {kind} {seed}")
    codec = Codec(profile)
    frame = codec.encode(_value(rng, profile.layouts[kind]), transaction)
    if profile.framing.numbers:
        frame = profile.framing.number(frame, seed, seed + 3)
    body = memoryview(frame)[profile.framing.head : len(frame) - profile.framing.foot]
    by_wlc = kind.label.endswith(("_response", "_notify", "capability"))
    read = codec.decode_untrusted(profile.ids[kind], body, sender=Role.WLC if by_wlc else Role.MSE)
    return Sent(read, kind, transaction, frame, by_wlc)


def _value(rng: random.Random, part: Section) -> Any:
    values: dict[str, Any] = {}
    inside = frozenset[str]() if part.inside is None else part.inside.names
    for record in (part.fixed, part.tail):
        if record is not None:
            for name, kind in record.types.items():
                if name in {*part.struct.__struct_fields__, *inside} and name not in record.constants:
                    values[name] = _field(rng, kind, record.widths[name], is_time=name in record.times)
    if part.elements is not None:
        for field in part.elements.fields.values():
            size = field.size or 0
            values[field.name] = _field(rng, field.type, size, is_time=field.type == "time")
    if part.repeat is not None:
        count = rng.randint(0, min(3, part.repeat.max))
        values[part.repeat.name] = tuple(_value(rng, part.repeat.part) for _ in range(count))
    if part.inside is not None:
        own = {name: values.pop(name) for name in inside & values.keys()}
        values[part.inside.name] = (part.inside.struct(**own),)
    return part.struct(**values)


def _field(rng: random.Random, kind: str, size: int, *, is_time: bool) -> Any:
    if is_time:
        return rng.randrange(1_700_000_000, 1_900_000_000) * 1_000_000_000 + rng.randrange(1_000_000_000)
    if kind == "text":
        return "".join(rng.choice(_TEXT) for _ in range(rng.randint(0, size // 3)))
    if kind in ("mac", "bytes"):
        return rng.randbytes(6 if kind == "mac" else size)
    bits = int(kind[1:])
    low, high = (0, (1 << bits) - 1) if kind[0] == "u" else (-(1 << bits - 1), (1 << bits - 1) - 1)
    return rng.choice([low, high, rng.randint(low, high)])


# -- captures ----------------------------------------------------------------------------------------------------------


class Flow(NamedTuple):
    """A connection. parts: a packet for each: whether the WLC sent it, and its bytes; datagrams: by UDP."""

    parts: Sequence[tuple[bool, bytes]]
    datagrams: bool = False


def capture(path: Path, parts: Iterable[tuple[bool, bytes]], *, datagrams: bool = False) -> Path:
    """A capture of one connection."""
    return capture_all(path, [Flow([*parts], datagrams)])


def capture_all(path: Path, flows: Sequence[Flow]) -> Path:
    """A capture of some, one after the other, each with a port of its own at the MSE."""
    packets: list[bytes] = []
    for at, flow in enumerate(flows):
        mse = (MSE[0], MSE[1] + at)
        sent = {True: 1000, False: 5000}  # sequence numbers
        for by_wlc, data in flow.parts:
            (source, source_port), (target, target_port) = (WLC, mse) if by_wlc else (mse, WLC)
            if flow.datagrams:
                above = struct.pack(">HHHH", source_port, target_port, 8 + len(data), 0) + data
            else:
                head = (source_port, target_port, sent[by_wlc], sent[not by_wlc], 5 << 12 | 0x18, 65535, 0, 0)
                above = struct.pack(">HHIIHHHH", *head) + data
                sent[by_wlc] += len(data)
            addresses = b"".join(bytes(map(int, address.split("."))) for address in (source, target))
            protocol, number = 17 if flow.datagrams else 6, len(packets)
            below = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(above), number, 0, 64, protocol, 0)
            packet = below + addresses + above
            packets.append(struct.pack("<IIII", 1_800_000_000 + number, 0, len(packet), len(packet)) + packet)
    path.write_bytes(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, _LINKTYPE_RAW) + b"".join(packets))
    return path


def cut(data: bytes, *places: int) -> list[bytes]:
    """The pieces between some places."""
    return [data[start:stop] for start, stop in pairwise((0, *places, len(data)))]


# -- tshark ------------------------------------------------------------------------------------------------------------


def tshark(*arguments: object) -> str:
    """What it prints; the Lua file of a profile is among the arguments."""
    words = ["tshark", "-n", *map(str, arguments)]
    done = subprocess.run(words, capture_output=True, timeout=PATIENCE_S, check=False)
    problems = [line for line in done.stderr.decode().splitlines() if "Running as user" not in line]
    assert (done.returncode, problems) == (0, []), done.stderr.decode()
    return done.stdout.decode("utf-8", "replace")  # what it cuts off, it cuts anywhere


def lua_file(profile: WireProfile, folder: Path) -> Path:
    path = folder / f"{profile.digest}.lua"
    path.write_text(dissector(profile), "utf-8")
    return path


def dissect(profile: WireProfile, captured: Path, *options: object) -> list[Dissected]:
    """Every frame of NMSP that tshark finds, in the order of the packets."""
    return [each for _, each in _dissected_by_port(profile, captured, *options)]


def dissect_all(profile: WireProfile, captured: Path, *options: object) -> list[list[Dissected]]:
    """The same of each connection that `capture_all` wrote."""
    found: list[list[Dissected]] = []
    for port, each in _dissected_by_port(profile, captured, *options):
        found += [[] for _ in range(port - MSE[1] + 1 - len(found))]
        found[port - MSE[1]].append(each)
    return found


def _dissected_by_port(profile: WireProfile, captured: Path, *options: object) -> Iterator[tuple[int, Dissected]]:
    """With the MSE's ports."""
    script = f"lua_script:{lua_file(profile, captured.parent)}"
    text = tshark("-X", script, "-r", captured, "-T", "pdml", *options)
    for packet in ET.fromstring(text):  # noqa: S314 - tshark's
        protocols = packet.findall("proto")
        if not any(proto.get("name") == "nmsp" for proto in protocols):
            continue
        below = {field.get("name", ""): field.get("show", "") for proto in protocols for field in proto}
        carrier = "tcp" if "tcp.stream" in below else "udp"
        of = Packet(int(below[f"{carrier}.stream"]), int(below[f"{carrier}.srcport"]) == PORT)
        port = int(below[f"{carrier}.{'dstport' if of.by_wlc else 'srcport'}"])
        yield from ((port, _dissected(of, proto)) for proto in protocols if proto.get("name") == "nmsp")


def plain(*, datagrams: bool = False) -> tuple[str, str]:
    """Options for a capture without TLS."""
    return "-d", f"{'udp' if datagrams else 'tcp'}.port=={PORT},nmsp"


def _dissected(packet: Packet, node: ET.Element) -> Dissected:
    found = Dissected(packet, {}, [], [])
    for field in _flat(node):
        name = field.get("name", "")
        if name == "_ws.expert":
            (kind,) = (each.get("name", "") for each in field if each.get("name", "").startswith("nmsp."))
            (message,) = (each.get("show", "") for each in field if each.get("name") == "_ws.expert.message")
            found.experts.append(f"{kind}: {message}")
        elif name.startswith("nmsp."):
            if any(each.get("name", "").startswith("nmsp.") for each in field):
                found.records.append(_dissected(packet, field))
            else:
                found.leaves.setdefault(name.removeprefix("nmsp."), []).append(field)
    return found


def _flat(node: ET.Element) -> Iterable[ET.Element]:
    """The fields below, with those of elements among them, and what is said of a field behind it."""
    for field in node:
        if field.get("name") == "nmsp.element":
            yield from _flat(field)
        else:
            yield field
            yield from (each for each in field if each.get("name") == "_ws.expert")


# -- both --------------------------------------------------------------------------------------------------------------


def assert_same(profile: WireProfile, sent: Sent, found: Dissected) -> None:
    """Every field of a frame, as tshark shows it, is what our codec reads."""
    framing = profile.framing
    assert found.number("msg_id") == profile.ids[sent.kind]
    (message,) = found.leaves["message"]
    assert message.get("show") == sent.kind.label
    if framing.checksum is not None:
        assert found.number("checksum.status") == 1
    # A name may be the header's and the body's: what is left of it when the ends of the frame are taken away.
    leaves = {name: [*fields] for name, fields in found.leaves.items()}
    for name, value in zip(framing.header.names, framing.header.struct.unpack_from(sent.frame), strict=True):
        assert int(leaves[name].pop(0).get("show", ""), 0) == value, name
    if (trailer := framing.trailer) is not None:
        for name, value in zip(
            trailer.names, trailer.struct.unpack_from(sent.frame, len(sent.frame) - trailer.size), strict=True
        ):
            assert int(leaves[name].pop().get("show", ""), 0) == value, name
    body = {name: fields for name, fields in leaves.items() if fields}
    generated = {"msg_id", "message", "checksum.status", "checksum.expected", "response_in", "response_to"}
    _assert_part(profile.layouts[sent.kind], sent.message, found._replace(leaves=body), generated)


def _assert_part(part: Section, value: Any, found: Dissected, known: set[str]) -> None:
    assert found.experts == [], found.experts
    wanted = {name: getattr(value, name) for name in value.__struct_fields__}
    records = () if part.repeat is None else wanted.pop(part.repeat.name)
    if part.inside is not None:
        (record,) = wanted.pop(part.inside.name)
        wanted |= {name: getattr(record, name) for name in part.inside.names}
    carried: set[str] = set()
    for layout in (part.fixed, part.tail, part.elements):
        if layout is None:
            continue
        for name, shown in _carried(layout, found, wanted):
            carried.add(name)
            if shown is None:  # an element with nothing in it is not sent
                assert wanted[name] in ("", b""), name
            else:
                assert same(shown, wanted[name]), f"{name}: {shown.attrib} is not {wanted[name]!r}"
    for name, constant in part.fixed.constants.items():
        assert found.number(name) == constant
    counters = {part.repeat.counter} if part.repeat is not None else set()
    others = {*part.fixed.constants, *counters, part.length, *known, "element.type", "element.length"}
    if part.tail is not None:
        others |= {*part.tail.constants}
    assert {_name(key) for key in found.leaves} - others <= carried
    assert len(found.records) == len(records)
    for record, shown_record in zip(records, found.records, strict=True):
        assert part.repeat is not None
        _assert_part(part.repeat.part, record, shown_record, set())


def _carried(
    layout: Record | Elements, found: Dissected, wanted: dict[str, Any]
) -> Iterable[tuple[str, ET.Element | None]]:
    names = layout.names if isinstance(layout, Record) else [field.name for field in layout.fields.values()]
    for name in names:
        if name in wanted and not (isinstance(layout, Record) and name in layout.constants):
            shown = [fields for key, fields in found.leaves.items() if _name(key) == name]
            if isinstance(layout, Record) or shown:
                ((field,),) = shown
                yield name, field
            else:
                yield name, None


def _name(key: str) -> str:
    """A field's own name: where one name is of several kinds, the kind is behind it."""
    return key if key.startswith(("element.", "checksum.")) else key.partition(".")[0]


def same(field: ET.Element, value: Any) -> bool:
    shown = field.get("show", "")
    if isinstance(value, bytes):
        if re.match(r"nmsp\.(address|anchor)(\.ipv6)?$", field.get("name", "")) and not re.fullmatch(
            r"[0-9a-f]{2}(:[0-9a-f]{2})*|([0-9a-f]{2})*", shown
        ):
            return IPv6Address(shown).packed == value
        return bytes.fromhex(shown.replace(":", "")) == value
    if isinstance(value, str):
        return shown == value
    if "UTC" in shown:
        return _ns_of(shown) == value
    if "." in shown:  # seconds since the session began
        seconds, part = shown.split(".")
        return int(seconds) * 1_000_000_000 + int(part) == value
    return int(shown, 0) == value


def _ns_of(shown: str) -> int:
    """ "Nov 30, 2026 09:53:57.123456789 UTC"."""
    date, _, rest = shown.partition(".")
    seconds = datetime.strptime(date, "%b %d, %Y %H:%M:%S").replace(tzinfo=UTC).timestamp()
    return round(seconds) * 1_000_000_000 + int(rest.removesuffix(" UTC").ljust(9, "0"))


def kinds_of(profile: WireProfile) -> Sequence[Kind]:
    return [kind for kind in Kind if kind in profile.layouts]


# -- tunnels -----------------------------------------------------------------------------------------------------------


def tunnelled(parts: Iterable[tuple[bool, bytes]], version: str, key_log: Path) -> list[tuple[bool, bytes]]:
    """What a tunnel of ours between two ends carries, handshake and all, where they say these parts, a record for each.

    Args:
        parts: as of `capture`, which takes the result.
        key_log: gets its secrets.
    """
    identity = self_signed(local_mac(1), new_key("p256"), datetime.now(UTC))
    shown = (identity.key_pem, identity.certificate_pem, identity.chain_pem, version)
    contexts = (client_context(*shown, None), server_context(*shown, None))
    KeyLog(key_log, "key log").observe(contexts)
    ends = [SSL.Connection(context, None) for context in contexts]
    ends[0].set_connect_state()
    ends[1].set_accept_state()
    carried: list[tuple[bool, bytes]] = []

    def deliver() -> bool:
        """What either end has to say reaches the other one; whether there was anything."""
        before = len(carried)
        for by_wlc, (speaker, hearer) in enumerate((ends, ends[::-1])):
            with suppress(SSL.WantReadError):
                data = speaker.bio_read(1 << 16)
                carried.append((bool(by_wlc), data))
                hearer.bio_write(data)
        return len(carried) > before

    for _ in range(8):  # flights of a handshake
        for end in ends:
            with suppress(SSL.WantReadError):
                end.do_handshake()
        deliver()
    for by_wlc, data in parts:
        ends[by_wlc].send(data)
        assert deliver()
    return carried


# -- of a run ----------------------------------------------------------------------------------------------------------


class Recording:
    """What goes over loopback to or from some addresses, while it is open, in a file.

    Raises:
        pytest.skip.Exception: whoever runs the tests may not capture.
    """

    def __init__(self, path: Path, network: str) -> None:
        self.path, self._network = path, network
        self._err = path.with_suffix(".stderr")
        with self._err.open("wb") as err:
            words = ["dumpcap", "-i", "lo", "-f", f"net {network}", "-B", "64", "-w", str(path)]
            self._process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=err)

    def __enter__(self) -> Recording:
        end = time.monotonic() + PATIENCE_S
        while "File: " not in (said := self._err.read_text("utf-8", "replace")):
            if self._process.poll() is not None:
                pytest.skip(f"dumpcap may not capture on loopback: {said.strip()}")
            assert time.monotonic() < end, said
            time.sleep(0.02)
        return self

    def __exit__(self, *_: object) -> None:
        # What it has in its ring when it is told to end is lost: so until something that came last is in the file.
        last, end = os.urandom(16), time.monotonic() + PATIENCE_S
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(last, (self._network.replace(".0/24", ".1"), 9))
        while last not in self.path.read_bytes() and time.monotonic() < end:
            time.sleep(0.02)
        self._process.send_signal(signal.SIGINT)
        self._process.wait(PATIENCE_S)


Sides = tuple[bytearray, bytearray]


def streams(captured: Path, count: int, *options: object) -> list[Sides]:
    """Of each of so many TCP streams what MSE and WLC said inside of TLS, as tshark decrypts it without our script."""
    # A dissector that guesses wrong, and then fails, would take its bytes out of the stream.
    follow = [word for number in range(count) for word in ("-z", f"follow,tls,raw,{number}")]
    found: list[Sides] = [(bytearray(), bytearray()) for _ in range(count)]
    said, first_is_wlc = found[0], False
    for line in tshark("-r", captured, *options, "--disable-protocol", "rdpmt", "-q", *follow).splitlines():
        if line.startswith("Filter: "):
            said = found[int(line.rpartition(" ")[2])]
        elif line.startswith("Node 0: "):  # whoever had said something first
            first_is_wlc = line.endswith(f":{PORT}")
        elif re.fullmatch(r"\t?([0-9a-f]{2})+", line):
            said[line.startswith("\t") != first_is_wlc].extend(bytes.fromhex(line))
    return found


def datagram_streams(captured: Path, count: int, *options: object) -> list[Sides]:
    """The same of UDP and DTLS, for which tshark has no `follow`: from its dumps in hexadecimal."""
    columns = 'gui.column.format:"s","%Cus:udp.stream:0:R","p","%Cus:udp.srcport:0:R"'
    found: list[Sides] = [(bytearray(), bytearray()) for _ in range(count)]
    side, inside = bytearray(), False
    for line in tshark("-r", captured, *options, "-P", "-x", "-o", columns, "-Y", "dtls.app_data").splitlines():
        if match := re.fullmatch(r"(\d+) (\d+)", line.strip()):
            stream, port = map(int, match.groups())
            side, inside = found[stream][port == PORT], False
        elif line.endswith(" bytes):"):
            inside = line.startswith("Decrypted DTLS")
        elif inside and line:
            side.extend(bytes.fromhex(line[6:53]))
    return found


def frames_of(profile: WireProfile, data: bytes, *, by_wlc: bool) -> list[Sent]:
    """A stream's frames, read by our codec."""
    framing, codec, found = profile.framing, Codec(profile), []
    while data:
        header = framing.header.struct.unpack_from(data)
        frame = data[: framing.size_untrusted(header)]
        data = data[len(frame) :]
        number = framing.id_of(header)
        body = memoryview(frame)[framing.head : len(frame) - framing.foot]
        message = codec.decode_untrusted(number, body, sender=Role.WLC if by_wlc else Role.MSE)
        kind = KIND_OF[type(message)]
        found.append(Sent(message, kind, framing.transaction_of(header), frame, by_wlc))
    return found
