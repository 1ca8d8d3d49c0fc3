"""`loadgen replay` with processes of its own: captures that are played, and what gets them."""

from __future__ import annotations

import signal
import struct
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import e2e_wire as wire
import pytest
import replay_samples as samples
from e2e_loadgen import SMALL, Identities, Run, Start, eventually
from e2e_peers import FakeMse
from ports import free_port

from loadgen.nmsp.profile import load_profile, reference_profile
from loadgen.nmsp.records import ClientInfo
from loadgen.units import NS_PER_MS

ROOT = Path(__file__).parents[2]
STATIONS, MESSAGES = 5, 60
# RSSI of the first reading tells which message of the capture it was.
RSSI = [-30 - index for index in range(MESSAGES)]


def write_capture(path: Path) -> Path:
    """A WLC that tells of five stations, every 20 ms, for 1.2 s."""
    said = [
        ((10 + 20 * index) * NS_PER_MS, samples.Role.WLC, samples.measured(index % STATIONS, rssi), 0)
        for index, rssi in enumerate(RSSI)
    ]
    path.write_bytes(samples.captured([samples.exchange(reference_profile(), [*samples.opening(), *said])]))
    return path


def test_both_sides_come_to_what_arithmetic_says(run: Run, tmp_path: Path) -> None:
    """Twenty times the capture's 60 messages, three times round, at ten times its speed."""
    capture = write_capture(tmp_path / "tunnel.pcapng")
    ended = run(
        *("replay", capture, "--scale", 20, "--speed", 10, "--duration", "360ms"),
        *("--listen", "127.78.2.1:0", "--set", "wlc.step=port", "--workers", 1),
    )
    ended.check_passed()
    counters = ended.counters
    assert counters["sessions.established"] == 20
    assert counters["notify.due"] == counters["notify.sent"] + counters["notify.dropped"] == 20 * 3 * MESSAGES
    assert counters["notify.received"] == counters["notify.sent"]
    assert counters["notify.lost"] == counters["notify.duplicated"] == counters["notify.reordered"] == 0
    assert ended.errors == {}
    ended.check_books()


@pytest.mark.parametrize(
    "layout",
    [
        *(ROOT / "docs" / "wire-profile" / f"{name}.toml" for name in ("plover", "swift", "wren")),
        *(ROOT / "benchmarks" / "layouts" / f"{name}.toml" for name in ("elements", "sealed")),
    ],
    ids=lambda path: path.stem,
)
def test_layouts_with_dialogues_and_numbers_of_their_own(run: Run, tmp_path: Path, layout: Path) -> None:
    """Frame numbers, device times, checksums, several stations in a message: nothing that a receiver minds."""
    profile, capture = load_profile(layout), tmp_path / "tunnel.pcapng"
    capture.write_bytes(samples.captured([samples.exchange(profile, samples.lines(profile, 20))]))
    ended = run(
        *("replay", capture, "--profile", layout, "--scale", 3, "--speed", 2, "--duration", "400ms"),
        *("--listen", "127.78.3.1:0", "--set", "wlc.step=port", "--workers", 1),
    )
    ended.check_passed()
    assert ended.counters["sessions.established"] == 3
    assert ended.counters["notify.due"] == ended.counters["notify.sent"] + ended.counters["notify.dropped"] == 120
    assert ended.counters["notify.received"] == ended.counters["notify.sent"]
    assert ended.errors == {}


def readings(mse: FakeMse, count: int) -> Iterator[tuple[int, bytes, list[tuple[bytes, int]]]]:
    """Number, station, and access points with their RSSI, of the next notifications."""
    for _ in range(count):
        frame = mse.frames.next()
        assert frame is not None
        assert frame.msg_id == wire.MEASUREMENT_NOTIFY
        sequence, _, _, mac, subservice, number = wire.NOTIFY.unpack_from(frame.body)
        assert (subservice, len(frame.body)) == (0, wire.NOTIFY.size + number * wire.READING.size)
        heard = struct.iter_unpack(wire.READING.format, frame.body[wire.NOTIFY.size :])
        yield sequence, mac, [(each[0], each[4]) for each in heard]


def test_somebody_elses_mses_get_what_was_recorded_each_with_devices_of_its_own(
    start: Start, tmp_path: Path, identities: Identities
) -> None:
    capture, port, endpoints = write_capture(tmp_path / "tunnel.pcapng"), free_port("127.78.4.1"), 3
    running = start(
        *("replay", capture, "--serve", "wlc", "--scale", endpoints, "--speed", 20, "--duration", "10m"),
        *("--listen", f"127.78.4.1:{port}", "--set", f"wlc.auth_list={identities.auth_list}", "--workers", 1),
    )
    running.wait_for_line("ready: ")
    with ExitStack() as stack, ThreadPoolExecutor(endpoints) as pool:
        mses = [
            stack.enter_context(FakeMse((f"127.78.4.{number}", port), identities.pems[0]))
            for number in range(1, endpoints + 1)
        ]
        for mse in mses:
            mse.set_up()
        told = list(pool.map(lambda mse: list(readings(mse, 4 * MESSAGES)), mses))
        running.signal(signal.SIGINT)
    ended = running.end()
    assert ended.code == 130
    # The MSEs had enough: they close with bytes unread, or with none.
    assert ended.errors.keys() <= {"errors.serve.reset", "errors.serve.closed_without_notify"}
    seen: dict[bytes, tuple[int, int]] = {}
    for endpoint, lines in enumerate(told):
        assert [sequence for sequence, _, _ in lines] == list(range(len(lines)))
        first = RSSI.index(lines[0][2][0][1])  # who came later begins later
        for index, (_, mac, heard) in enumerate(lines):
            message = (first + index) % MESSAGES
            assert [rssi for _, rssi in heard] == [RSSI[message], RSSI[message] - 10]
            assert [ap for ap, _ in heard] == [samples.AP, b"\0\x11\x22\xaa\xbb\x02"]
            assert seen.setdefault(mac, (endpoint, message % STATIONS)) == (endpoint, message % STATIONS)
    assert len(seen) == endpoints * STATIONS


def test_mses_of_the_same_profile_take_it_at_twenty_times_the_speed(
    start: Start, tmp_path: Path, identities: Identities
) -> None:
    capture, port = write_capture(tmp_path / "tunnel.pcapng"), free_port("127.78.5.1")
    wlc = start(
        *("replay", capture, "--serve", "wlc", "--scale", 4, "--speed", 20, "--duration", "10m"),
        *("--listen", f"127.78.5.1:{port}", "--set", f"wlc.auth_list={identities.auth_list}", "--workers", 1),
    )
    wlc.wait_for_line("ready: ")
    scenario = tmp_path / "mse.toml"
    names = ", ".join(f'"{pem}"' for pem in identities.pems)
    scenario.write_text(SMALL.replace("[mse]", f"[mse]\nidentities = [{names}]"), "utf-8")
    target = ",".join(f"127.78.5.{number}:{port}" for number in range(1, 5))
    mse = start("run", scenario, "--target", f"wlc={target}").end()
    mse.check_passed()
    wlc.signal(signal.SIGINT)
    ended = wlc.end()
    assert ended.code == 130
    assert mse.counters["sessions.established"] == ended.counters["sessions.established"] == 8
    assert mse.counters["notify.received"] == ended.counters["notify.sent"] > 0
    assert mse.counters["notify.lost"] == mse.counters["notify.duplicated"] == mse.counters["notify.reordered"] == 0
    assert mse.errors == ended.errors == {}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nowhere.pcapng"], ["nowhere.pcapng: expected a capture, found no such file"]),
        (["empty.pcapng"], ["empty.pcapng"]),
        (["text.pcapng"], ["text.pcapng", "expected a capture, pcap or pcapng"]),
        (["tunnel.pcapng", "--profile", "nowhere.toml"], ["nowhere.toml"]),
        (
            ["tunnel.pcapng", "--profile", str(ROOT / "docs" / "wire-profile" / "tern.toml")],
            ["tunnel.pcapng: expected notifications that profile tern-1 reads, found none in 1 sessions"],
        ),
        (["tunnel.pcapng", "--capture-keylog", "nowhere.keys"], ["nowhere.keys: expected a key log"]),
        (["tunnel.pcapng", "--speed", "1", "--rate", "5"], ["--speed, --rate: expected one of them, found both"]),
        (["tunnel.pcapng", "--speed", "101"], ["--speed"]),
        (["tunnel.pcapng", "--raw"], ["--raw: expected --serve wlc or --target, one of them, found neither"]),
        (["tunnel.pcapng", "--raw", "--serve", "wlc", "--scale", "2"], ["--scale: expected a profile, and not --raw"]),
        (["text.pcapng", "--raw", "--serve", "wlc"], ["expected a capture, pcap or pcapng"]),
        (["tunnel.pcapng", "--scale", "0"], ["--scale"]),
        (["tunnel.pcapng", "--set", "transport=dtls"], ["transport: expected tls"]),
        (["tunnel.pcapng", "--set", "load.burst=3"], ['load.burst: expected load.kind = "notify"']),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_bad_input_gets_one_message(
    refuse: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], said: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_capture(tmp_path / "tunnel.pcapng")
    (tmp_path / "empty.pcapng").write_bytes(b"")
    (tmp_path / "text.pcapng").write_text("no capture at all\n", "utf-8")
    refuse("replay", *words).check_refused(*said)


def test_our_mses_ask_a_wlc_what_was_asked_in_the_capture(start: Start, tmp_path: Path, identities: Identities) -> None:
    """Two requests in each of two periods, by each of three MSEs."""
    said = [
        *samples.opening(),
        *samples.notified(10, first_ns=10 * NS_PER_MS),
        (50 * NS_PER_MS, samples.Role.MSE, samples.m.MeasurementRequest(0), 7),
        (90 * NS_PER_MS, samples.Role.MSE, samples.m.CapabilityRequest(), 8),
    ]
    said.sort(key=lambda line: line[0])
    capture = tmp_path / "tunnel.pcapng"
    capture.write_bytes(samples.captured([samples.exchange(reference_profile(), said)]))
    port = free_port("127.78.6.1")
    scenario = tmp_path / "wlc.toml"
    listen = f'listen = "127.78.6.1:{port}"\nauthenticate = false'
    scenario.write_text(SMALL.replace('listen = "127.77.2.1:0"', listen).replace("count = 4", "count = 1"), "utf-8")
    wlc = start("run", scenario, "--serve", "wlc", "--duration", "10m")
    wlc.wait_for_line("ready: ")
    words = ("--target", f"wlc=127.78.6.1:{port}", "--scale", 3, "--speed", 1, "--duration", "380ms", "--workers", 1)
    mse = start("replay", capture, *words).end()
    wlc.signal(signal.SIGINT)
    ended = wlc.end()
    mse.check_passed()
    assert mse.counters["sessions.established"] == 3
    assert mse.counters["requests.due"] == mse.counters["requests.sent"] + mse.counters["requests.dropped"] == 12
    assert mse.counters["requests.answered"] == mse.counters["requests.sent"] == ended.counters["requests.served"]
    assert mse.errors == ended.errors == {}


def test_our_wlcs_are_asked_what_was_asked_and_answer_as_they_did(run: Run, tmp_path: Path) -> None:
    """A request in each of two periods, by an MSE at each of three WLCs, about a device told of nowhere else."""
    m = samples.m
    answer = m.MeasurementResponse(0, 0, samples.station(77), (samples.reading(-42),))
    said = [
        *samples.opening(),
        *samples.notified(10, first_ns=10 * NS_PER_MS),
        (55 * NS_PER_MS, samples.Role.MSE, m.MeasurementRequest(0, samples.station(77)), 7),
        (56 * NS_PER_MS, samples.Role.WLC, answer, 7),
    ]
    said.sort(key=lambda line: line[0])
    capture = tmp_path / "tunnel.pcapng"
    capture.write_bytes(samples.captured([samples.exchange(reference_profile(), said)]))
    ended = run(
        *("replay", capture, "--scale", 3, "--duration", "380ms", "--workers", 2),
        *("--listen", "127.78.10.1:0", "--set", "wlc.step=port"),
    )
    ended.check_passed()
    counters = ended.counters
    assert counters["requests.due"] == counters["requests.sent"] + counters["requests.dropped"] == 6
    assert counters["requests.answered"] == counters["requests.served"] == counters["requests.sent"] > 0
    assert counters["requests.refused"] == 0  # whom nobody knows is refused
    assert ended.errors == {}


def test_a_search_along_endpoints_and_speed(run: Run, tmp_path: Path) -> None:
    """Both up to what is asked for at most."""
    write_capture(tmp_path / "tunnel.pcapng")
    scenario = tmp_path / "replay.toml"
    scenario.write_text(
        """
name = "replay"
[wlc]
listen = "127.78.11.1:0"
step = "port"
[load]
kind = "replay"
capture = "tunnel.pcapng"
scale = 2
[capacity]
warmup = "200ms"
hold = "1200ms"
confirm = "1200ms"
cooldown = "50ms"
""",
        "utf-8",
    )
    words = ("--start", "scale=2", "--max", "scale=4", "--start", "speed=1", "--max", "speed=2")
    ended = run("capacity", scenario, "--dimension", "scale", "--dimension", "speed", *words, "--workers", 1)
    ended.check_passed()
    assert "tunnel.pcapng: 60 messages of 1 of 1 sessions" in ended.stderr
    scale, speed = ended.result["dimensions"]
    assert (scale["dimension"], speed["dimension"]) == ("scale", "speed")
    for found in (scale, speed):
        # A machine that has no time for it is to blame, and not what is searched.
        assert found["outcome"] in ("not reached", "generator-limited", "inconclusive"), ended.stderr
        assert {probe["offered"] for probe in found["probes"]} <= {1, 2, 4}


# -- without a profile -------------------------------------------------------------------------------------------------


def test_raw_bytes_of_a_wlc_are_what_they_were(start: Start, tmp_path: Path, identities: Identities) -> None:
    """An MSE that says nothing at all gets what the recorded one got."""
    capture, port = write_capture(tmp_path / "tunnel.pcapng"), free_port("127.78.7.1")
    running = start("replay", capture, "--raw", "--serve", "wlc", "--speed", 50, "--listen", f"127.78.7.1:{port}")
    eventually(lambda: "ready: 1 WLC at " in running.stdout, "its listener")
    with FakeMse(("127.78.7.1", port), identities.pems[0]) as mse:
        frames = [mse.frames.next() for _ in range(3 + MESSAGES)]
        assert mse.frames.next() is None
    assert [frame.msg_id for frame in frames[:3] if frame] == [
        wire.VERSION_RESPONSE, wire.CAPABILITY, wire.SUBSCRIBE_RESPONSE,
    ]  # fmt: skip
    macs = [wire.NOTIFY.unpack_from(frame.body)[3] for frame in frames[3:] if frame]
    assert macs == [samples.station(index % STATIONS) for index in range(MESSAGES)]
    ended = running.end()
    assert ended.code == 0, ended.stderr
    assert "192.0.2.9:40000 -> 192.0.2.1:16113: played" in ended.stdout
    assert "nothing is fitted to the other end" in ended.stderr


def test_raw_bytes_of_an_mse_go_to_a_wlc(start: Start, tmp_path: Path) -> None:
    capture, port = write_capture(tmp_path / "tunnel.pcapng"), free_port("127.78.8.1")
    scenario = tmp_path / "wlc.toml"
    listen = f'listen = "127.78.8.1:{port}"\nauthenticate = false'
    scenario.write_text(SMALL.replace('listen = "127.77.2.1:0"', listen).replace("count = 4", "count = 1"), "utf-8")
    wlc = start("run", scenario, "--serve", "wlc", "--duration", "10m")
    wlc.wait_for_line("ready: ")
    ended = start("replay", capture, "--raw", "--target", f"wlc=127.78.8.1:{port}").end()
    assert ended.code == 0, ended.stderr
    assert ": played, " in ended.stdout
    wlc.signal(signal.SIGINT)
    assert wlc.end().counters["sessions.established"] == 1


def test_raw_bytes_to_nobody_are_unreachable(run: Run, tmp_path: Path) -> None:
    capture, port = write_capture(tmp_path / "tunnel.pcapng"), free_port("127.78.8.2")
    ended = run("replay", capture, "--raw", "--target", f"wlc=127.78.8.2:{port}")
    assert ended.code == 3
    assert "refused, 0 of " in ended.stdout


def test_an_mse_is_told_of_what_it_has_subscribed_to(start: Start, tmp_path: Path, identities: Identities) -> None:
    """Of measurements and information in turn, only the former, numbered without gaps."""
    information = samples.m.ClientInfoNotify(
        subservice=9, records=(ClientInfo(samples.station(1), samples.AP, ssid="a"),)
    )
    said = samples.opening(mask=1 | 1 << 9)
    for index in range(20):
        said.append(((10 + 20 * index) * NS_PER_MS, samples.Role.WLC, samples.measured(index % STATIONS, -40), 0))
        said.append(((15 + 20 * index) * NS_PER_MS, samples.Role.WLC, information, 0))
    capture, port = tmp_path / "tunnel.pcapng", free_port("127.78.9.1")
    capture.write_bytes(samples.captured([samples.exchange(reference_profile(), said)]))
    running = start(
        *("replay", capture, "--serve", "wlc", "--speed", 20, "--duration", "10m", "--workers", 1),
        *("--listen", f"127.78.9.1:{port}", "--set", f"wlc.auth_list={identities.auth_list}"),
    )
    running.wait_for_line("ready: ")
    with FakeMse(("127.78.9.1", port), identities.pems[0]) as mse:
        mse.set_up()
        assert [sequence for sequence, _, _ in readings(mse, 50)] == list(range(50))
        running.signal(signal.SIGINT)
    ended = running.end()
    assert ended.code == 130
    assert ended.counters["notify.declined"] > 0
    assert ended.counters["notify.due"] == ended.counters["notify.sent"] + ended.counters["notify.dropped"]
