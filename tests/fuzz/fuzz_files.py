"""Files that people give: refused with their problems, or good for everything that comes afterwards."""

from __future__ import annotations

import copy
import itertools
import tempfile
import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric import ec
from fuzz_bytes import Bytes, joined
from fuzz_profiles import OTHER_TOML, element_document, reference_document
from fuzz_wire import sample
from nmsp_samples import receive

from loadgen.errors import InputError
from loadgen.identity.credentials import read_identity, self_signed
from loadgen.identity.devices import decode_device_text, ios_xe_config, read_device_text
from loadgen.identity.keyhash import key_hash
from loadgen.measure.histogram import Histogram
from loadgen.measure.hlog import IntervalLog, LogLine, read_hlog_untrusted
from loadgen.nmsp.any_bulk import ring_of
from loadgen.nmsp.catalogue import CATALOGUE, KIND_OF
from loadgen.nmsp.codec import Codec
from loadgen.nmsp.dialogue import needed
from loadgen.nmsp.messages import Kind
from loadgen.nmsp.profile import WireProfile, profile_untrusted, reference_profile
from loadgen.nmsp.ring import Timing
from loadgen.results.thresholds import parse_thresholds
from loadgen.scenario.plan import make_plan
from loadgen.scenario.reading import scenario_untrusted
from loadgen.strict import read_toml_untrusted
from loadgen.world.stations import make_stations

# -- documents ---------------------------------------------------------------------------------------------------------

_VALUES: list[Any] = [
    *(0, 1, 2, -1, 6, 7, 127, 128, 200, 255, 256, 65535, 65536, 1 << 24, 1 << 31, 1 << 63, -(1 << 63), 1 << 70),
    *(
        "u8",
        "u16",
        "u32",
        "u64",
        "i8",
        "i16",
        "i32",
        "i64",
        "mac",
        "text",
        "bytes",
        "little",
        "body",
        "element",
        "",
        "x",
    ),
    *(
        "1s",
        "0s",
        "5m",
        "9999999h",
        "1.5ms",
        "round-robin",
        "all",
        "handshake",
        "notify",
        "port",
        "[::1]:0",
        "1.2.3.4:5",
    ),
    *(True, False, 0.5, -0.0, 1e308, float("inf"), float("nan"), [], {}, [[]], [{}], {"x": {}}, "\x00\ud7ff", None),
    *("sequence", "subservice", "readings", "length", "msg_id", "records", "reading", "count", "id", "max", "value"),
]
_STEPS = 6


def edited(document: dict[str, Any], source: Bytes) -> dict[str, Any]:
    """A document with changes: for each, a way into it, and what to do there (set, remove, copy, rename)."""
    document = copy.deepcopy(document)
    taken: Any = 0
    while source:
        place: Any = document
        for left in reversed(range(1 + source.below(_STEPS))):
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            if not keys:
                break
            key = keys[source.byte() % len(keys)]
            if not left or not isinstance(place[key], dict | list):
                taken = _edit(place, key, source, taken)
                break
            place = place[key]
    return document


def _edit(place: Any, key: Any, source: Bytes, taken: Any) -> Any:
    """Do something to `place[key]`; returns what the next edits may copy."""
    what = source.below(8)
    if what == 0:
        place.pop(key)
    elif what == 1:
        return copy.deepcopy(place[key])
    elif what == 2:
        place[key] = taken
    elif what == 3 and isinstance(place, dict):
        place[str(_VALUES[source.byte() % len(_VALUES)])] = place.pop(key)
    elif what == 4 and isinstance(place[key], int):
        place[key] += source.byte() - 128
    else:
        place[key] = copy.deepcopy(_VALUES[source.byte() % len(_VALUES)])
    return taken


_SOME = ("subscribe_groups_request", "information_request", "client_info_notify", "tag_info_notify")


def _shorter(document: dict[str, Any]) -> dict[str, Any]:
    """Without most of what a profile may leave out, which is more of the same."""
    messages = {name: table for name, table in document["messages"].items() if name in needed(None) or name in _SOME}
    repeated = {table["repeat"]["record"] for table in messages.values() if "repeat" in table}
    records = {name: table for name, table in document["records"].items() if name in repeated}
    return document | {"messages": messages, "records": records}


@cache
def _profile_documents() -> list[dict[str, Any]]:
    return [_shorter(reference_document()), tomllib.loads(OTHER_TOML), _shorter(element_document())]


def profiles(data: bytes) -> None:
    """A wire profile that is not refused works: for every message, and for notifications in bulk.

    Data: which document to begin with, then changes.
    """
    source = Bytes(data)
    documents = _profile_documents()
    document = edited(documents[source.below(len(documents))], source)
    try:
        profile = profile_untrusted(document, "fuzz.toml")
    except InputError as error:
        assert error.problems
        assert all(problem.where.startswith("fuzz.toml") for problem in error.problems)
        return
    codec = Codec(profile)
    for kind, layout in profile.layouts.items():
        frame = codec.encode(sample(layout, 1), 1)
        assert len(frame) <= profile.max_frame_bytes
        body = memoryview(frame)[profile.header.size :]
        message = codec.decode_untrusted(profile.ids[kind], body, sender=CATALOGUE[kind].sender)
        assert KIND_OF[type(message)] is kind
        assert codec.encode(message, 1) == frame
        if profile.notify_is_table:
            found = receive(profile, [frame])
            assert (found.fault, found.tail, len(found.rows) + len(found.controls)) == (None, b"", 1), (kind, found)
            _check_largest(codec, profile, kind)
    if profile.notify_is_table:
        _check_bulk(profile)


def _check_largest(codec: Codec, profile: WireProfile, kind: Kind) -> None:
    layout = profile.layouts[kind]
    if layout.repeat is None or layout.repeat.max * layout.repeat.record.size > 1 << 16:
        return
    frame = codec.encode(sample(layout, layout.repeat.max), 1)
    assert len(frame) <= profile.max_frame_bytes
    assert receive(profile, [frame]).fault is None


def _check_bulk(profile: WireProfile) -> None:
    most = min(3, profile.max_readings)
    ring = ring_of(profile, make_stations(profile, 1, 0, 4, (0, most), 1), batch=2)
    view, count = ring.patch(0, 2, 7, Timing(1 << 40, 1 << 41))
    found = receive(profile, [bytes(view)])
    rows = [row[:3] for row in found.rows]
    assert rows == [(7 + index, 1 << 40, 1 << 41) for index in range(count)], found


def profiles_seeds() -> Iterator[bytes]:
    for number, document in enumerate(_profile_documents()):
        yield joined(number)
        for first in range(len(document)):
            yield joined(number, 1, first, 5, 3, 2, first, 4, 6, 200)
        for first, second, what in itertools.product(range(12), range(4), (0, 4, 5)):
            yield joined(number, 5, 4, first, second, 0, 1, what, first)


_SCENARIO: dict[str, Any] = {
    "name": "fuzz",
    "description": "everything",
    "seed": 3,
    "wlc": {
        "count": 2,
        "listen": "127.0.1.1:0",
        "step": "address",
        "subservices": ["rssi-ms"],
        "authenticate": True,
        "stations": 4,
        "readings": [1, 3],
    },
    "mse": {
        "count": 2,
        "assign": [{"mse": 0, "wlc": [0, 1]}, {"mse": 1, "wlc": [0]}],
        "subscribe": "all",
        "connect_per_s": 10.5,
        "setup_timeout": "10s",
    },
    "tls": {"version": "1.2", "key": "p256", "key_hash": "sha256", "hash_over": "spki", "trust": "any"},
    "session": {"echo_interval": "15s", "dead_interval": "30s"},
    "load": {
        "kind": "notify",
        "rate": 100,
        "burst": 3,
        "stages": [{"ramp": "1s"}, {"warmup": "1s", "rate": 10}, {"hold": "3s"}],
        "backlog": "2s",
    },
    "capacity": {"dimensions": ["sessions"], "slo": ["notify.latency.p99 < 1s"], "start": {"sessions": 1}},
    "thresholds": ["notify.lost == 0", {"threshold": "notify.latency.p99 < 1s", "abort_on_fail": True, "delay": "1s"}],
}
_MOST_PLANNED = 200


def scenarios(data: bytes) -> None:
    """A scenario that is not refused has a plan, and that has a schedule.

    Data: an override as `--set` takes it, up to a NUL; then changes to a scenario that has everything.
    """
    override, _, changes = data.partition(b"\0")
    overrides = [override.decode("utf-8", "replace")] if override else []
    document = edited(_SCENARIO, Bytes(changes))
    try:
        scenario, profile = scenario_untrusted(document, Path("/nowhere/fuzz.toml"), overrides, reference_profile())
        parse_thresholds(
            [rule if isinstance(rule, str) else rule.threshold for rule in scenario.thresholds], "fuzz.toml"
        )
        parse_thresholds(scenario.capacity.slo, "fuzz.toml")
    except InputError as error:
        assert error.problems
        return
    if scenario.wlc.count > _MOST_PLANNED or scenario.mse.count > _MOST_PLANNED:
        return
    plan = make_plan(scenario, profile)
    schedule = plan.schedule()
    assert schedule.count_at(schedule.duration_ns // 2) >= 0
    assert plan.digest == make_plan(scenario, profile).digest


def scenarios_seeds() -> Iterator[bytes]:
    yield b"wlc.count=3\0"
    yield b"load.stages[0].ramp=2s\0"
    yield b"mse.assign=[{mse=0,wlc=[1]}]\0\x00\x00\x00"
    for first, second, what in itertools.product(range(11), range(6), (0, 3, 5)):
        yield joined(0, 2, first, second, what, first + 20, 4, first, 2, 0, what, 40)


# -- text --------------------------------------------------------------------------------------------------------------


@cache
def _file() -> Path:
    return Path(tempfile.mkdtemp(prefix="fuzz-")) / "file"


def toml(data: bytes) -> None:
    """A file that should be TOML is read, or refused; so is a scenario or a profile in it. Data: the file."""
    _file().write_bytes(data)
    try:
        document = read_toml_untrusted(_file(), "a scenario")
    except InputError as error:
        assert error.problems
        return
    for use in (partial(profile_untrusted, source="x"), partial(scenario_untrusted, path=Path("x"))):
        try:
            use(document)
        except InputError as error:
            assert len(str(error)) < 1000 * len(error.problems) + 3 * len(data)


def toml_seeds() -> Iterator[bytes]:
    yield b'name = "x"\n[wlc]\ncount = 3\n[[a.b]]\nx = [1, 2.5e3, 0x4E, 1979-05-27T07:32:00Z, """y"""]\n'
    yield b"x = " + b"[" * 40 + b"]" * 40
    yield b"x = {a.b = 1, c = [{}]}\n\"q\\u00e9\" = '\\'\n'x'.y = inf\n"


def device_text(data: bytes) -> None:
    """What devices print is read, or refused with its lines; what was read is printed as what reads the same.

    Data: the text.
    """
    try:
        entries = read_device_text(decode_device_text(data, "fuzz.txt"), "fuzz.txt")
    except InputError as error:
        assert all(problem.where.startswith("fuzz.txt") for problem in error.problems)
        return
    again = read_device_text(ios_xe_config(entries), "again")
    assert {entry.mac for entry in again} == {entry.mac for entry in entries}


def device_text_seeds() -> Iterator[bytes]:
    sha1, sha2 = "0123456789abcdef0123456789ABCDEF01234567", "ab" * 32
    block = f"MAC Address: 00:50:56:9c:34:89\nSHA1 Key Hash: {sha1}\nSHA2 Key Hash: {sha2}\nCertificate Type: SSC\n"
    config = (
        "3850c(config)#username 0050569c3489 aaa attribute list NMSP\n3850c(config)#aaa attribute list NMSP\n"
        f"3850c(config-attr-list)#attribute type password {sha2}\n --More-- \n!\n"
    )
    aireos = f"(Cisco Controller) >config auth-list add lbs-ssc 00:50:56:9c:34:89 {sha1}\n"
    cmx = f"+---+---+\n| MAC Address | 00:50:56:9c:34:89 |\n| SHA2 Key | {sha2} |\n+---+---+\n"
    yield (aireos + cmx).encode()
    for text in (block, config, config + block, block.replace("Key Hash", "キーハッシュ"), block[:70]):
        yield text.encode()
        yield text.replace("\n", "\r\n").encode("utf-16")


def pem(data: bytes) -> None:
    """An identity's file is one, or has problems. Data: the file."""
    try:
        identity = read_identity(data, "fuzz.pem")
    except InputError as error:
        assert all(problem.where.startswith("fuzz.pem") for problem in error.problems)
        assert str(error).replace("\n", "").isprintable()
    else:
        assert len(key_hash(identity.certificate(), "sha256")) == 64


def pem_seeds() -> Iterator[bytes]:
    identity = self_signed(
        "00:50:56:9c:34:89", ec.derive_private_key(7, ec.SECP256R1()), datetime(2026, 1, 1, tzinfo=UTC)
    )
    key, certificate = identity.key_pem, identity.certificate_pem
    yield key + certificate
    yield identity.certificate().der
    yield certificate + b"text\n" + key + certificate
    yield key.replace(b"PRIVATE", b"ENCRYPTED PRIVATE") + certificate
    yield key.replace(b"PRIVATE KEY", b"CERTIFICATE") + key


def interval_log(data: bytes) -> None:
    """A histogram log is read, or refused with its line. Data: the file."""
    _file().write_bytes(data)
    try:
        for histogram in read_hlog_untrusted(_file()).values():
            histogram.summary()
            histogram.curve()
    except InputError as error:
        assert error.problems


def interval_log_seeds() -> Iterator[bytes]:
    counts = np.zeros(len(Histogram()._hdr.counts), np.int64)
    counts[[3, 900, 5000]] = 1, 2, 3
    line = LogLine("hold/notify.latency", 0.0, 1.0, Histogram.of_counts(counts))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "seed.hlog"
        log = IntervalLog(path, 1_700_000_000.0)
        log.append([line])
        log.close()
        text = path.read_bytes()
    yield text
    yield text[:-1]
    yield text + b"#\n" + text.splitlines(keepends=True)[-1]
