"""The counterparts themselves: independent of loadgen, and what they plant is what they say."""

from __future__ import annotations

import ast
import json
import struct
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from benchmarks import calibrate
from benchmarks.calibration.cases import Case
from benchmarks.calibration.figures import below, between, exactly, holds, within
from benchmarks.calibration.programs import Failed, Run
from benchmarks.counterparts import wire, wlc
from benchmarks.counterparts.planned import Faults, Pauses, slots
from benchmarks.counterparts.truth import duration_ns, percentile, summary

ROOT = Path(__file__).parents[2]
COUNTERPARTS = sorted((ROOT / "benchmarks" / "counterparts").glob("*.py"))
VECTORS = json.loads((ROOT / "tests" / "vectors" / "reference-1.json").read_text("utf-8"))

# -- independent -------------------------------------------------------------------------------------------------------


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("path", COUNTERPARTS, ids=lambda path: path.stem)
def test_nothing_of_loadgen_is_used(path: Path) -> None:
    names = imported(path)
    assert not {name for name in names if name.split(".")[0] == "loadgen"}
    ours = {name for name in names if name.split(".")[0] == "benchmarks"}
    assert all(name.startswith("benchmarks.counterparts") for name in ours)


# -- the bytes ---------------------------------------------------------------------------------------------------------


def vector(name: str) -> tuple[dict[str, Any], bytes]:
    found = next(each for each in VECTORS["messages"] if each["name"] == name)
    return found, bytes.fromhex(found["hex"])


@pytest.mark.parametrize("stream", VECTORS["streams"], ids=lambda stream: stream["name"])
@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_streams_are_taken_apart_as_the_vectors_say(stream: dict[str, Any], size: int) -> None:
    data = bytes.fromhex(stream["hex"])
    reader = wire.Stream()
    frames = [frame for at in range(0, len(data), size) for frame in reader.feed(data[at : at + size])]
    expected = [vector(name) for name in stream["messages"]]
    assert [wire.frame(f.msg_id, f.body, f.transaction) for f in frames] == [raw for _, raw in expected]
    assert [f.transaction for f in frames] == [found["transaction"] for found, _ in expected]
    assert reader.missing == wire.HEADER.size


def test_messages_are_made_as_the_vectors_have_them() -> None:
    found, raw = vector("capability-catalyst-9800")
    assert wire.capability(found["fields"]["subservices"]) == raw
    found, raw = vector("subscribe-request")
    assert wire.subscribe_request(found["transaction"], found["fields"]["subservices"]) == raw
    found, raw = vector("version-response")
    assert wire.version_response(found["transaction"]) == raw
    found, raw = vector("notify-no-readings")
    made = wire.notify(*(found["fields"][name] for name in ("sequence", "due_ns", "sent_ns")), 0)
    assert made[: wire.HEADER.size + 24] == raw[: wire.HEADER.size + 24]
    assert len(made) == len(raw)


def test_a_notification_holds_what_it_was_given() -> None:
    (frame,) = wire.Stream().feed(wire.notify(7, 1 << 60, (1 << 60) + 5, readings=4))
    assert frame.msg_id == wire.MEASUREMENT_NOTIFY
    sequence, due, sent, _, subservice, readings = wire.NOTIFY.unpack_from(frame.body)
    assert (sequence, due, sent, subservice, readings) == (7, 1 << 60, (1 << 60) + 5, 0, 4)
    assert len(frame.body) == wire.NOTIFY.size + 4 * wire.READING.size == 32 + 4 * 14


@pytest.mark.parametrize("head", [b"\x4f", b"\x4e\x01", b"\x4e\0\0\1" + struct.pack(">I", 11)])
def test_what_is_no_frame_is_broken(head: bytes) -> None:
    with pytest.raises(wire.Broken):
        wire.Stream().feed(head.ljust(wire.HEADER.size, b"\0"))


def test_what_is_missing_is_never_more_than_what_is_missing() -> None:
    data, reader = wire.notify(0, 1, 2), wire.Stream()
    position = 0
    while position < len(data):
        step = reader.missing
        assert 0 < step <= len(data) - position
        frames = reader.feed(data[position : position + step])
        position += step
    assert len(frames) == 1


# -- what is planted ---------------------------------------------------------------------------------------------------


def seen(numbers: list[int]) -> tuple[int, int, int]:
    """(lost, duplicated, reordered) of numbers as they arrive, from the definitions."""
    reordered = sum(n not in numbers[:at] and n < max(numbers[:at], default=-1) for at, n in enumerate(numbers))
    return max(numbers) + 1 - len(set(numbers)), len(numbers) - len(set(numbers)), reordered


@pytest.mark.parametrize("every", [(0, 0, 0), (4, 4, 4), (100, 100, 100), (7, 11, 13), (5, 0, 0), (2, 2, 2), (3, 2, 9)])
@pytest.mark.parametrize("total", [1, 2, 3, 50, 200, 1001])
def test_every_planted_fault_is_visible(every: tuple[int, int, int], total: int) -> None:
    told = list(slots(Faults(*every), total))
    assert len(told) == total
    numbers = [number for slot in told for number in slot.numbers]
    planted = [slot.fault for slot in told]
    assert seen(numbers) == tuple(planted.count(fault) for fault in ("lost", "duplicated", "swapped"))
    assert numbers.count(total - 1) == 1


def test_one_in_a_thousand_is_one_in_a_thousand() -> None:
    planted = [slot.fault for slot in slots(Faults(1000, 1000, 1000), 20_000)]
    assert [planted.count(fault) for fault in ("lost", "duplicated", "swapped")] == [20, 20, 20]


def test_without_an_end_it_goes_on() -> None:
    endless = slots(Faults(10), None)
    planted = [next(endless).fault for _ in range(1000)]
    assert planted.count("lost") == 100


def test_one_that_waits_by_itself_holds_up_no_other_and_one_in_so_many_is_closed() -> None:
    words = ("--max-handshakes-per-s", "100", "--handshake-delay", "1s", "--handshake-every", "2", "--close-every", "4")
    planted = wlc.Wlc(wlc.parse(words))
    planted._listener.close()
    turns = [planted.turn_ns(number) for number in range(1, 7)]
    alone = [turn - (0 if number % 2 else 10**9) for number, turn in enumerate(turns, start=1)]
    # Each at least its 10 ms after the one before: they were asked for faster than that, or the machine was slow.
    assert all(later - earlier >= 10**7 for earlier, later in pairwise(alone))
    assert planted.truth["handshakes_delayed"] == 3
    assert [number for number in range(1, 13) if planted.closes(number)] == [2, 6, 10]
    assert planted.truth["closed"] == 3


def test_a_pause_holds_back_what_falls_into_it() -> None:
    pauses = Pauses(10, 100)
    assert [pauses.released(due) for due in (0, 49, 50, 55, 59, 60, 99, 150)] == [0, 49, 60, 60, 60, 60, 99, 160]
    assert [Pauses().released(due) for due in (0, 50, 55)] == [0, 50, 55]


# -- truth and figures -------------------------------------------------------------------------------------------------


def test_durations() -> None:
    assert [duration_ns(text) for text in ("5ms", "1s", "1.5s", "20us", "2m")] == [5e6, 1e9, 1.5e9, 2e4, 12e10]
    for text in ("", "5", "ms", "5 ms", "-1s"):
        with pytest.raises(ValueError):
            duration_ns(text)


def test_percentiles_are_values_of_the_log() -> None:
    ordered = list(range(1, 1001))
    assert [percentile(ordered, percent) for percent in (0, 50, 90, 99, 99.9, 100)] == [1, 500, 900, 990, 999, 1000]
    assert percentile([7], 99.9) == 7
    assert summary([]) is None
    found = summary([3, 1, 2])
    assert found is not None
    assert (found["count"], found["min"], found["mean"], found["p50"], found["max"]) == (3, 1, 2, 2, 3)


def test_figures_tell_whether_they_are_met() -> None:
    assert exactly("n", 5, 5).met
    assert not exactly("n", 5, 6).met
    assert exactly("n", 5, 6).deviation == "+1"
    assert within("p99", 900e6, 917e6, 0.02).met
    assert not within("p99", 900e6, 919e6, 0.02).met
    assert not within("p99", 900e6, 881e6, 0.02).met
    assert between("p50", 5e6, 6e6, 5e6).met
    assert not between("p50", 5e6, 6e6, 4.9e6).met
    assert not between("p50", 5e6, 6e6, 6.1e6).met
    assert not below("p50", 5e6, 5e6).met
    assert not holds("verdict", "VALID", "INVALID", met=False).met


def log_line(tag: str, start: str, values: list[int]) -> str:
    from hdrh.histogram import HdrHistogram

    histogram = HdrHistogram(1, 3600 * 10**9, 3)
    for value in values:
        histogram.record_value(value)
    return f"Tag={tag},{start},1.000,0.000,{histogram.encode().decode('ascii')}"


def test_the_log_is_read_with_stages_and_without() -> None:
    lines = [
        "#[Histogram log format version 1.3]",
        log_line("handshake.tls", "1.000", [300_000_000, 5]),
        log_line("hold/handshake.tls", "2.000", [299_000_000, 400_000_000, 7]),
        log_line("hold/handshake.tls_resumed", "2.000", [300_000_000]),
        log_line("other.handshake.tls", "2.000", [300_000_000]),
    ]
    run = Run({}, "\n".join(lines))
    assert run.count_from("handshake.tls", 300_000_000) == 2
    assert run.count_from("handshake.tls", 0) == 5
    assert run.count_between("handshake.tls", 0, 1) == 2
    assert run.count_between("handshake.tls", 1, 2) == 3


@pytest.mark.parametrize(("found", "code"), [(5, 0), (6, 1)])
def test_a_miss_is_exit_code_1(monkeypatch: pytest.MonkeyPatch, found: int, code: int) -> None:
    monkeypatch.setattr(calibrate, "CASES", [Case("made-up", lambda folder: [exactly("n", 5, found)])])
    ended = CliRunner().invoke(calibrate.main, ["made"])
    assert ended.exit_code == code
    assert "| made-up | n | 5 |" in ended.output
    assert ("**MISS**" in ended.output) == bool(code)


def test_a_case_that_does_not_run_is_a_miss(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(folder: Path) -> list[Any]:
        raise Failed("wlc: no line `ready`")

    monkeypatch.setattr(calibrate, "CASES", [Case("made-up", broken)])
    ended = CliRunner().invoke(calibrate.main, [])
    assert ended.exit_code == 1
    assert "no line `ready`" in ended.output


@pytest.mark.parametrize(("calm", "runs"), [(True, 1), (False, 3)])
def test_a_miss_is_looked_at_again_only_where_the_machine_was_busy(
    monkeypatch: pytest.MonkeyPatch, calm: bool, runs: int
) -> None:
    folders: list[Path] = []

    def missing(folder: Path) -> list[Any]:
        folders.append(folder)
        return [exactly("n", 5, 6)]

    monkeypatch.setattr(calibrate, "CASES", [Case("made-up", missing)])
    monkeypatch.setattr(calibrate.Watch, "calm", calm)
    assert CliRunner().invoke(calibrate.main, []).exit_code == 1
    assert len(set(folders)) == runs


def test_an_unknown_case_is_refused() -> None:
    assert CliRunner().invoke(calibrate.main, ["nothing"]).exit_code == 2
