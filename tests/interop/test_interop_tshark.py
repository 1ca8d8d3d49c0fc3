"""`loadgen profile dissector` in the real tshark: every field of every frame as our own codec reads it."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import tshark_captures as captures
import tshark_layouts as layouts
from tshark_captures import (
    Flow,
    Sent,
    assert_same,
    capture,
    capture_all,
    cut,
    dissect,
    kinds_of,
    plain,
    sample,
    tshark,
)

from loadgen.commands import run
from loadgen.errors import RemoteProtocolError
from loadgen.nmsp.codec import Codec
from loadgen.nmsp.messages import Kind
from loadgen.nmsp.profile import WireProfile, load_profile, reference_profile

pytestmark = [pytest.mark.long, pytest.mark.skipif(not captures.HAS_TSHARK, reason=captures.WHY_NOT)]

ROOT = Path(__file__).parents[2]
CHECKSUMS = {
    "crc-32": "u32",
    "crc-16/ibm-3740": "u16",
    "crc-16/xmodem": "u16",
    "crc-16/kermit": "u16",
    "crc-16/ibm-sdlc": "u16",
    "sum": "u16",
    "internet": "u16",
}


# The page's examples, and what other tests load.
EXAMPLES = [*(ROOT / "docs" / "wire-profile").glob("*.toml"), *(ROOT / "tests" / "profiles").glob("*.toml")]
PROFILES: dict[str, Callable[[], WireProfile]] = {
    "reference": reference_profile,
    "quill": layouts.quill,
    "anvil": layouts.anvil,
    "bellows": layouts.bellows,
    "cooper": layouts.cooper,
    **{path.stem: partial(load_profile, path) for path in sorted(EXAMPLES)},
}


@pytest.fixture(scope="module", params=PROFILES)
def profile(request: pytest.FixtureRequest) -> WireProfile:
    made: WireProfile = PROFILES[request.param]()
    return made


def everything(profile: WireProfile, each: int = 4) -> list[Sent]:
    """Some of each kind, in an order that is no order."""
    sent = [sample(profile, kind, seed, transaction=1 + seed) for kind in kinds_of(profile) for seed in range(each)]
    random.Random(profile.digest).shuffle(sent)
    return sent


def parts_of(sent: list[Sent]) -> list[tuple[bool, bytes]]:
    return [(each.by_wlc, each.frame) for each in sent]


def assert_all(profile: WireProfile, sent: list[Sent], found: list[captures.Dissected]) -> None:
    assert len(found) == len(sent)
    for one, other in zip(sent, found, strict=True):
        assert_same(profile, one, other)


# What every profile is tried with. A tshark takes longer to start than to read all of it: these are connections of one
# capture, and each test looks at one or two.


def across_segments(profile: WireProfile) -> Flow:
    """Cut anywhere, within headers too; several frames in one segment, one frame in many."""
    stream = b"".join(each.frame for each in everything(profile) if each.by_wlc)
    rng = random.Random(profile.digest)
    places = sorted(rng.sample(range(1, len(stream)), 60))
    places += range(places[-1] + 1, min(places[-1] + 30, len(stream)))  # byte by byte
    return Flow([(True, piece) for piece in cut(stream, *places)])


def spoilt(profile: WireProfile) -> list[tuple[bytes, bool]]:
    """Bodies with bytes changed, cut off and put in; whether our codec refuses them."""
    rng = random.Random(profile.digest)
    codec, framing, frames = Codec(profile), profile.framing, []
    for each in everything(profile, each=8):
        for _ in range(3):
            body = bytearray(each.frame[framing.head : len(each.frame) - framing.foot])
            for _ in range(rng.randint(0, 3)):
                at = rng.randint(0, len(body))
                body[at : at + rng.choice([0, 1, 1, 1, 4])] = rng.choice([b"", b"\0", b"\xff", rng.randbytes(1)])
            frame = framing.around(each.kind, bytes(body), each.transaction)
            try:
                codec.decode_untrusted(
                    profile.ids[each.kind], memoryview(frame)[framing.head : len(frame) - framing.foot]
                )
            except RemoteProtocolError:
                frames.append((frame, True))
            else:
                frames.append((frame, False))
    return frames


def noise(profile: WireProfile) -> list[tuple[bool, bytes]]:
    """Anything, and in it the beginnings of frames."""
    rng = random.Random(3)
    good = sample(profile, Kind.MEASUREMENT_NOTIFY, 1).frame
    some = [rng.randbytes(rng.choice([1, 3, 40, 1400])) for _ in range(40)]
    return [(True, rng.choice([good[: rng.randint(0, len(good))] + each, each])) for each in some]


FLOWS: dict[str, Callable[[WireProfile], Flow]] = {
    "all": lambda profile: Flow(parts_of(everything(profile))),
    "across segments": across_segments,
    "datagrams": lambda profile: Flow(parts_of(everything(profile, each=2)), datagrams=True),
    "spoilt": lambda profile: Flow([(True, frame) for frame, _ in spoilt(profile)], datagrams=True),
    "noise": lambda profile: Flow(noise(profile)),
    "noise in datagrams": lambda profile: Flow(noise(profile), datagrams=True),
}


@pytest.fixture(scope="module")
def shown(profile: WireProfile, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[captures.Dissected]]:
    """What tshark says of each of them."""
    path = tmp_path_factory.mktemp("shown") / "flows.pcap"
    captured = capture_all(path, [make(profile) for make in FLOWS.values()])
    found = captures.dissect_all(profile, captured, *plain(), *plain(datagrams=True))
    return dict(zip(FLOWS, found, strict=True))


# -- fields ------------------------------------------------------------------------------------------------------------


def test_every_field_of_every_message(profile: WireProfile, shown: dict[str, list[captures.Dissected]]) -> None:
    assert_all(profile, everything(profile), shown["all"])


def test_frames_across_segments(profile: WireProfile, shown: dict[str, list[captures.Dissected]]) -> None:
    assert_all(profile, [each for each in everything(profile) if each.by_wlc], shown["across segments"])


def test_datagrams(profile: WireProfile, shown: dict[str, list[captures.Dissected]]) -> None:
    assert_all(profile, everything(profile, each=2), shown["datagrams"])


def test_messages_have_their_names_in_the_info_column(tmp_path: Path) -> None:
    profile = reference_profile()
    notify = sample(profile, Kind.MEASUREMENT_NOTIFY, 1).frame
    echo = sample(profile, Kind.ECHO_RESPONSE, 1).frame
    unknown = b"\x4e\x00\x7f\xff" + bytes([0, 0, 0, 14]) + bytes(6)
    parts = [(True, echo), (True, notify * 3 + echo), (True, unknown), (True, notify[:9] + b"!!!" + notify[12:])]
    captured = capture(tmp_path / "info.pcap", parts)
    script = f"lua_script:{captures.lua_file(profile, tmp_path)}"
    text = tshark("-X", script, "-r", captured, *plain(), "-T", "fields", "-e", "_ws.col.Info")
    assert text.splitlines() == [
        *("echo_response", "measurement_notify x 3, echo_response", "message 32767", "measurement_notify"),
    ]


# -- tunnels and runs --------------------------------------------------------------------------------------------------


RUNS: dict[str, tuple[str, dict[str, Any]]] = {
    "reference-1.2": ("reference", {"tls": {"version": "1.2"}}),
    "length-first-1.2": ("length-first", {"tls": {"version": "1.2"}}),
    "quill-1.3": ("quill", {"tls": {"version": "1.3"}}),
    "heron-1.3": ("heron", {"tls": {"version": "1.3"}}),
    "wren-1.2": ("wren", {"tls": {"version": "1.2"}}),
    "stork-1.3": ("stork", {"tls": {"version": "1.3"}}),
    "plover-1.2": ("plover", {"tls": {"version": "1.2"}}),
    "tern-dtls": ("tern", {"transport": "dtls"}),
}


def length_first() -> WireProfile:
    """The first bytes of a version request are 00 00 00 10 02 00: another dissector guesses that they are its own."""
    document = layouts.reference()
    document["name"] = "length-first"
    fields = [layouts.field("length", "u32", 0), layouts.field("msg_id", "u16", 4)]
    document["header"] = {"size": 8, "fields": [*fields, layouts.field("transaction", "u16", 6)]}
    document["messages"]["version_request"]["id"] = 0x200
    return layouts.compiled(document)


@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize("name", ["reference", "quill", "length-first", "cooper"])
def test_a_tunnel_is_read_with_its_key_log(version: str, name: str, tmp_path: Path) -> None:
    """Nobody needs rights for that: the capture is written from what the tunnel carried. Frames go across records."""
    profile = (PROFILES | {"length-first": length_first})[name]()
    sent = everything(profile, each=3)
    sent.insert(0, sample(profile, Kind.VERSION_REQUEST, 1))
    parts: list[tuple[bool, bytes]] = []
    for by_wlc in (False, True):
        stream = b"".join(each.frame for each in sent if each.by_wlc is by_wlc)
        places = sorted(random.Random(name).sample(range(1, len(stream)), 20))
        parts += [(by_wlc, piece) for piece in cut(stream, *places)]
    captured = capture(tmp_path / "tunnel.pcap", captures.tunnelled(parts, version, tmp_path / "keys.log"))
    found = dissect(profile, captured, "-o", f"tls.keylog_file:{tmp_path / 'keys.log'}")
    for by_wlc in (False, True):
        said = [each for each in sent if each.by_wlc is by_wlc]
        assert_all(profile, said, [each for each in found if each.packet.by_wlc is by_wlc])


@pytest.mark.parametrize(
    ("options", "read"),
    [
        (("-o", "nmsp.ports:1,16000-16200"), True),
        (("-o", "nmsp.ports:5", "-d", f"tls.port=={captures.MSE[1]},nmsp"), True),
        (("-o", "nmsp.ports:5"), False),
    ],
)
def test_ports_can_be_set(options: tuple[str, ...], read: bool, tmp_path: Path) -> None:
    profile = reference_profile()
    sent = [sample(profile, Kind.MEASUREMENT_NOTIFY, seed) for seed in range(4)]
    stream = b"".join(each.frame for each in sent)
    parts = [(True, piece) for piece in cut(stream, 5, 90, 91, 200)]
    captured = capture(tmp_path / "ports.pcap", captures.tunnelled(parts, "1.3", tmp_path / "keys.log"))
    found = dissect(profile, captured, "-o", f"tls.keylog_file:{tmp_path / 'keys.log'}", *options)
    assert_all(profile, sent if read else [], found)


def test_records_in_one_packet_are_told_side_by_side(tmp_path: Path) -> None:
    """One whole frame and a half; the other half and a frame; two frames in records of their own."""
    profile = reference_profile()
    echo, notify = (sample(profile, kind, 1).frame for kind in (Kind.ECHO_RESPONSE, Kind.MEASUREMENT_NOTIFY))
    records = [echo, notify[:40], notify[40:], echo + echo, echo, notify]
    carried = captures.tunnelled([(True, record) for record in records], "1.2", tmp_path / "keys.log")
    shaken, said = carried[: -len(records)], [data for _, data in carried[-len(records) :]]
    packets = [(True, said[0] + said[1]), (True, said[2] + said[3]), (True, said[4] + said[5])]
    captured = capture(tmp_path / "records.pcap", [*shaken, *packets])
    script = f"lua_script:{captures.lua_file(profile, tmp_path)}"
    key_log = f"tls.keylog_file:{tmp_path / 'keys.log'}"
    info = tshark("-X", script, "-r", captured, "-o", key_log, "-Y", "nmsp", "-T", "fields", "-e", "_ws.col.Info")
    assert [line.replace("[TLS segment of a reassembled PDU]", "") for line in info.splitlines()] == [
        *("echo_response", "measurement_notify, echo_response x 2", "echo_response, measurement_notify"),
    ]


@pytest.mark.parametrize("name", RUNS)
def test_a_run_is_read_with_its_key_log(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two fleets, captured on loopback, decrypted by tshark: every frame of every session, in order."""
    monkeypatch.chdir(tmp_path)
    layout, tables = RUNS[name]
    profile = (PROFILES | {"length-first": length_first})[layout]()
    (tmp_path / "profile.toml").write_text(layouts.to_toml(profile), "utf-8")
    scenario = {
        "name": "captured",
        "profile": "profile.toml",
        "wlc": {"count": 2, "listen": f"127.77.{90 + list(RUNS).index(name)}.1:{captures.PORT}", "stations": 5},
        "mse": {"count": 1},
        "load": {"rate": 200, "stages": [{"hold": "300ms"}]},
        **tables,
    }
    with captures.Recording(tmp_path / "run.pcapng", f"127.77.{90 + list(RUNS).index(name)}.0/24") as recording:
        result = run(scenario, workers=1, keylog="keys.log")
    assert result.counters["sessions.established"] == 2
    options = ("-o", f"tls.keylog_file:{tmp_path / 'keys.log'}")
    found = dissect(profile, recording.path, *options)
    read, streams = 0, captures.datagram_streams if "transport" in tables else captures.streams
    for number, sides in enumerate(streams(recording.path, 2, *options)):
        for by_wlc in (False, True):
            sent = captures.frames_of(profile, bytes(sides[by_wlc]), by_wlc=by_wlc)
            assert_all(profile, sent, [each for each in found if each.packet == (number, by_wlc)])
            read += len(sent)
    assert read == len(found) > 60
    notified = [each for each in found if each.leaves["message"][0].get("show") == "measurement_notify"]
    assert len(notified) == result.counters["notify.sent"]


# -- opaque messages ---------------------------------------------------------------------------------------------------


def test_opaque_messages_have_their_names_and_what_is_filled_in(tmp_path: Path) -> None:
    document = layouts.reference()
    document |= {"name": "opaque", "byte_order": "little"}
    document["opaque"] = {
        "hail": {
            "id": 0x300,
            "sender": "mse",
            "hex": "aa" * 30,
            "fields": [
                layouts.field("transaction", "u16", 1),
                layouts.field("mac", "mac", 4),
                layouts.field("time", "time", 11, size=8, unit="s+us"),
                layouts.field("counter", "u32", 20),
            ],
        },
        "hail_back": {"id": 0x301, "sender": "wlc", "hex": "0102", "answers": "hail"},
        "drivel": {"id": 0x302, "sender": "wlc", "hex": "", "varies": True},
    }
    profile = layouts.compiled(document)
    around, mac, now_ns = profile.framing.around, bytes(range(6)), 1_796_032_397_123_456_000
    hail = profile.opaque["hail"].filled(77, mac, 5, now_ns, 0)
    parts = [
        (False, around("hail", hail, 9)),
        (True, around("hail_back", b"\1\2", 9)),
        (True, around("drivel", b"xyz")),
        (True, around("drivel", b"")),
        (True, around("hail_back", b"\1")),
        (True, around("hail_back", b"\1\2\3")),
    ]
    captured = capture(tmp_path / "opaque.pcap", parts)
    found = dissect(profile, captured, *plain(), "-2")
    names = ["hail", "hail_back", "drivel", "drivel", "hail_back", "hail_back"]
    assert [each.leaves["message"][0].get("show") for each in found] == names
    assert [each.experts for each in found[:4]] == [[], [], [], []]
    assert all(text.startswith("nmsp.malformed: hail_back") for each in found[4:] for text in each.experts)
    assert [len(each.experts) for each in found[4:]] == [1, 1]
    assert links(found)[:2] == [(2, None), (None, 1)]
    bodies = [each.leaves["body"][0].get("show", "").replace(":", "") for each in found if "body" in each.leaves]
    assert bodies == [hail.hex(), "0102", b"xyz".hex(), "01", "010203"]
    shown = found[0].leaves
    assert [int(field.get("show", "")) for field in shown["transaction"]] == [9, 77]
    assert found[0].number("counter") == 5
    assert shown["mac"][0].get("show") == "00:01:02:03:04:05"
    assert captures.same(shown["time"][0], now_ns)


# -- requests and responses --------------------------------------------------------------------------------------------


def links(found: list[captures.Dissected]) -> list[tuple[int | None, int | None]]:
    """By frame: which packet it was answered in, and which it answers."""
    names = ("response_in", "response_to")
    return [tuple(each.number(n) if n in each.leaves else None for n in names) for each in found]  # type: ignore[misc]


def test_requests_and_responses_are_linked(tmp_path: Path) -> None:
    profile = reference_profile()

    def of(kind: Kind, transaction: int) -> tuple[bool, bytes]:
        each = sample(profile, kind, 1, transaction)
        return each.by_wlc, each.frame

    parts = [
        of(Kind.ECHO_REQUEST, 7),  # 1: answered in 5
        of(Kind.INFORMATION_REQUEST, 8),  # 2: answered in 4
        of(Kind.CAPABILITY, 9),  # 3: nobody asked
        of(Kind.TAG_INFO_RESPONSE, 8),  # 4
        of(Kind.ECHO_RESPONSE, 7),  # 5
        of(Kind.ECHO_RESPONSE, 7),  # 6: answered already
        of(Kind.SUBSCRIBE_REQUEST, 7),  # 7: the number comes again; answered in 9
        of(Kind.UNSUBSCRIBE_RESPONSE, 7),  # 8: no answer to that
        of(Kind.SUBSCRIBE_RESPONSE, 7),  # 9
        of(Kind.STATISTICS_REQUEST, 1),  # 10: never answered
    ]
    captured = capture(tmp_path / "links.pcap", parts)
    wanted = [
        *[(5, None), (4, None), (None, None), (None, 2), (None, 1)],
        *[(None, None), (9, None), (None, None), (None, 7), (None, None)],
    ]
    # With two passes, as Wireshark itself makes them, a request knows its response; with one it is not there yet.
    assert links(dissect(profile, captured, *plain(), "-2")) == wanted
    assert links(dissect(profile, captured, *plain())) == [(None, to) for _, to in wanted]


def test_without_a_transaction_responses_answer_in_order(tmp_path: Path) -> None:
    profile = layouts.bellows()
    kinds = [
        *(Kind.ECHO_REQUEST, Kind.ECHO_REQUEST, Kind.INFORMATION_REQUEST, Kind.ECHO_RESPONSE),
        *(Kind.CLIENT_INFO_RESPONSE, Kind.ECHO_RESPONSE, Kind.ECHO_RESPONSE),
    ]
    sent = [sample(profile, kind, 1) for kind in kinds]
    captured = capture(tmp_path / "links.pcap", [(each.by_wlc, each.frame) for each in sent])
    found = links(dissect(profile, captured, *plain(), "-2"))
    assert found == [(4, None), (6, None), (5, None), (None, 1), (None, 3), (None, 2), (None, None)]


# -- checksums ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", CHECKSUMS)
@pytest.mark.parametrize("order", ["big", "little"])
def test_checksums_are_shown_as_good_or_bad(kind: str, order: str, tmp_path: Path) -> None:
    document = layouts.reference()
    size = int(CHECKSUMS[kind][1:]) // 8
    document |= {"name": "sums", "byte_order": order, "checksum": {"kind": kind, "over": ["header", "body", "trailer"]}}
    document["trailer"] = {"size": size + 1, "fields": [layouts.field("checksum", CHECKSUMS[kind], 1)]}
    profile = layouts.compiled(document)
    sent = [sample(profile, kind, seed) for kind in (Kind.ECHO_REQUEST, Kind.MEASUREMENT_NOTIFY) for seed in range(5)]
    bad = [each.frame[:-2] + bytes([each.frame[-2] ^ 4, each.frame[-1]]) for each in sent]
    parts = [(each.by_wlc, frame) for each, wrong in zip(sent, bad, strict=True) for frame in (each.frame, wrong)]
    found = dissect(profile, capture(tmp_path / "sums.pcap", parts, datagrams=True), *plain(datagrams=True))
    assert [each.number("checksum.status") for each in found] == [1, 0] * len(sent)
    assert_all(profile, sent, found[::2])
    for good, wrong in zip(found[::2], found[1::2], strict=True):
        assert wrong.number("checksum.expected") == good.number("checksum")
        assert [text.startswith("nmsp.checksum.bad: checksum is not 0x") for text in wrong.experts] == [True]


# -- what bad input gets -----------------------------------------------------------------------------------------------


def test_what_our_codec_refuses_is_marked(profile: WireProfile, shown: dict[str, list[captures.Dissected]]) -> None:
    """A frame in each datagram: tshark marks what we refuse, no more."""
    frames, found = spoilt(profile), shown["spoilt"]
    assert len(found) == len(frames)
    marked = [any(text.startswith("nmsp.malformed") for text in each.experts) for each in found]
    differ = [frame.hex() for (frame, refused), other in zip(frames, marked, strict=True) if refused != other]
    assert differ == []
    assert 50 < sum(marked) < len(marked) - 50


@pytest.mark.parametrize("flow", ["noise", "noise in datagrams"])
def test_arbitrary_bytes_end(flow: str, shown: dict[str, list[captures.Dissected]]) -> None:
    """A stream of anything: marked, and no error of the script's."""
    text = "".join(text for each in shown[flow] for text in each.experts)
    assert "nmsp.malformed: " in text
    assert ".lua:" not in text


def test_a_profile_is_no_program(tmp_path: Path) -> None:
    """Names of constants and records, and the profile's, are their author's; what they would do in Lua they do not."""
    document = layouts.reference()
    touched = tmp_path / "touched"
    attack = f'"] = nil }} os.execute("touch {touched}") --[[ \\" ]] \n end \0 \u2028 %s {{'
    document["name"] = attack
    names = [attack, "end", "msg id", "MSG_ID", "response_in", "element", "element.type", "é", "", "x" * 3000, "a", "A"]
    names += ["rssi_a", "station_mac", "ap_mac"]
    document["messages"]["echo_request"] |= {
        "size": len(names),
        "fields": [layouts.field(name, "u8", at, value=at) for at, name in enumerate(names)],
    }
    document["records"] = {attack: document["records"]["reading"]}
    document["messages"]["measurement_notify"]["repeat"]["record"] = attack
    profile = layouts.compiled(document)
    lua = captures.dissector(profile)
    assert lua.isascii()
    sent = [sample(profile, kind, 1) for kind in (Kind.ECHO_REQUEST, Kind.MEASUREMENT_NOTIFY, Kind.ECHO_RESPONSE)]
    captured = capture(tmp_path / "names.pcap", [(each.by_wlc, each.frame) for each in sent])
    found = dissect(profile, captured, *plain())
    assert [each.experts for each in found] == [[], [], []]
    assert found[0].leaves["end"][0].get("show") == "1"
    assert not touched.exists()
