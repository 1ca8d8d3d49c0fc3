"""`loadgen capacity` and `loadgen plan` with bad input: exit code 2, one message with place, expected and found, and
nothing written; and what `plan` prints. In this process: nothing here starts a worker.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from loadgen.capacity.dimension import Dimension
from loadgen.cli.main import main
from loadgen.commands.options import CapacityOptions, SourceOptions
from loadgen.commands.searcher import searches_of
from loadgen.commands.source import read_source
from loadgen.units import NS_PER_S

SMALL = """
name = "small"
[wlc]
count = 4
listen = "127.77.6.1:0"
step = "port"
[mse]
count = 2
[load]
rate = 1000
stages = [{ hold = "500ms" }]
"""
TARGET = ("--target", "wlc=127.77.6.2:9")


class Ended(NamedTuple):
    code: int
    stdout: str
    stderr: str


Loadgen = Callable[..., Ended]


@pytest.fixture
def loadgen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Loadgen:
    """Call it as its entry point does; small.toml and results lie in the current folder."""
    monkeypatch.chdir(tmp_path)
    Path("small.toml").write_text(SMALL, "utf-8")

    def call(*words: str) -> Ended:
        monkeypatch.setattr(sys, "argv", ["loadgen", *words])
        with pytest.raises(SystemExit) as left:
            main()
        assert isinstance(left.value.code, int)
        return Ended(left.value.code, *capsys.readouterr())

    return call


BAD: list[tuple[list[str], list[str]]] = [
    (["--dimension", "pace"], ["--dimension", "'pace' is not one of", "handshake.per_s", "stations"]),
    (["--start", "fast"], ["--start", "DIMENSION=N"]),
    (["--dimension", "sessions", "--start", "0"], ["--start", "a number above 0", '"0"']),
    (["--dimension", "sessions", "--start", "-5"], ["--start", "a number above 0", '"-5"']),
    (["--dimension", "sessions", "--start", "nan"], ["--start", "a number above 0", '"nan"']),
    (["--dimension", "sessions", "--start", "inf"], ["--start", "a number above 0", '"inf"']),
    (["--dimension", "sessions", "--start", ""], ["--start", "a number above 0", '""']),
    (["--start", "pace=5"], ["--start", "handshake.per_s, notify.per_s, sessions, stations", '"pace=5"']),
    (["--start", "5"], ["--start", "DIMENSION=N, with one of handshake.per_s, notify.per_s", '"5"']),
    (["--start", "sessions=5"], ["--start", "for what is searched", '"sessions=5"']),
    (["--dimension", "sessions", "--max", "many"], ["--max", "a number above 0", '"many"']),
    (["--dimension", "sessions", "--max", "0"], ["--max", "a number above 0", '"0"']),
    (["--max", "1e9"], ["--max", "DIMENSION=N", '"1e9"']),
    (["--max", "stations=1"], ["--max", "for what is searched", '"stations=1"']),
    (["--resolution", "0%"], ["--resolution", "a share", '"0%"']),
    (["--resolution", "101%"], ["--resolution", "a share", '"101%"']),
    (["--resolution", "5"], ["--resolution", "a share", '"5"']),
    (["--resolution", "-1%"], ["--resolution", "a share", '"-1%"']),
    (["--resolution", "nan"], ["--resolution", "a share", '"nan"']),
    (["--resolution", "fine"], ["--resolution", "a share", '"fine"']),
    (["--hold", "4"], ["--hold", "a duration such as", '"4"']),
    (["--hold", "0s"], ["--hold", "more than 0", '"0s"']),
    (["--hold", "-1s"], ["--hold", "a duration such as", '"-1s"']),
    (["--confirm", "long"], ["--confirm", "a duration such as", '"long"']),
    (["--confirm", "0ms"], ["--confirm", "more than 0", '"0ms"']),
    (["--slo", "fast"], ["--slo[0]", "a threshold such as", '"fast"']),
    (["--slo", "notify.latency.p98 < 1s"], ["--slo[0]", "p99_9", '"p98"']),
    (["--slo", "notify.lost == 0", "--slo", "x > 1"], ["--slo[1]", '"x"']),
    (["--dimension", "handshake.per_s", "--slo", "notify.lost == 0"], ["--slo", "handshake.per_s", "notify.lost"]),
    ([*TARGET, "--dimension", "notify.per_s"], ["--dimension", "notify.per_s only where the WLCs are ours"]),
    ([*TARGET, "--dimension", "stations"], ["--dimension", "stations only where the WLCs are ours"]),
    (["--serve", "wlc", "--dimension", "handshake.per_s"], ["--dimension", "only where the MSEs are ours"]),
    (["--serve", "wlc", *TARGET], ["--target, --serve", "one of them", "both"]),
    (["--target", "mse=127.0.0.1:1"], ["--target", "wlc=HOST:PORT"]),
    (["--workers", "0"], ["--workers", '"auto" or 1 to 256', '"0"']),
    (["--set", "capacity.hold=4"], ["small.toml: capacity.hold"]),
    (["--set", "capacity.resolution=0"], ["small.toml: capacity.resolution", "> 0"]),
    (["--set", 'capacity.dimensions=["pace"]'], ["small.toml: capacity.dimensions[0]", "pace"]),
    (["--set", "capacity.start={ pace = 3 }"], ["small.toml: capacity.start.pace", "an unknown key"]),
    (["--set", "capacity.max={ sessions = -3 }"], ["small.toml: capacity.max", "> 0"]),
    (["--set", 'capacity.slo=["bogus > 1"]'], ["small.toml: capacity.slo[0]", '"bogus"']),
    (["--set", 'thresholds=["bogus > 1"]'], ["small.toml: thresholds[0]", '"bogus"']),
    (["--set", "tls.trust=nobody.pem"], ["nobody.pem: expected", "no such file"]),
    (["--set", "capacity.typo=1"], ["small.toml: capacity.typo", "an unknown key"]),
    # What the scenario fixes shows before anything is searched, whatever is searched before it.
    (
        [*TARGET, "--dimension", "handshake.per_s", "--dimension", "sessions", "--start", "sessions=40",
         "--set", "mse.assign=[{ mse = 0, wlc = [0] }]"],
        ["mse.assign", "to search along sessions"],
    ),
    (
        [*TARGET, "--dimension", "sessions", "--set", 'mse.assign="round-robin"'],
        ["mse.assign", '"all"', '"round-robin"'],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("words", "said"), BAD, ids=[" ".join(words) for words, _ in BAD])
def test_bad_input(loadgen: Loadgen, words: list[str], said: list[str]) -> None:
    ended = loadgen("capacity", "small.toml", *words)
    assert ended.code == 2
    assert ended.stdout == ""
    for part in said:
        assert part in ended.stderr
    assert "Traceback" not in ended.stderr
    assert ended.stderr.count("loadgen:") == 1 or ended.stderr.count("Error:") == 1
    assert not Path("results").exists()


def test_all_that_is_wrong_with_an_option_is_told_at_once(loadgen: Loadgen) -> None:
    ended = loadgen("capacity", "small.toml", "--start", "pace=5", "--start", "notify.per_s=x", "--start", "stations=1")
    assert ended.code == 2
    for found in ("pace=5", "notify.per_s=x", "stations=1"):
        assert f'"{found}"' in ended.stderr


def test_all_options_that_are_wrong_are_told_at_once(loadgen: Loadgen) -> None:
    words = ("--max", "notify.per_s=-5", "--resolution", "0%", "--hold", "x", "--slo", "sessions.failed < 5ms")
    ended = loadgen("capacity", "small.toml", *words)
    assert ended.code == 2
    for option in ("--slo", "--max", "--resolution", "--hold"):
        assert f"{option}" in ended.stderr


@pytest.mark.parametrize("command", ["capacity", "plan"])
def test_a_scenario_that_is_not_there(loadgen: Loadgen, command: str) -> None:
    ended = loadgen(command, "nobody.toml")
    assert ended.code == 2
    assert "nobody.toml" in ended.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--duration", "0s"], "--duration"),
        (["--workers", "none"], "--workers"),
        (["--set", "wlc.count=0"], "wlc.count"),
        (["--serve", "mse"], "wlc.listen"),
        (["--target", "wlc=127.0.0.1"], "--target"),
    ],
)
def test_a_plan_with_bad_input(loadgen: Loadgen, words: list[str], said: str) -> None:
    ended = loadgen("plan", "small.toml", *words)
    assert ended.code == 2
    assert said in ended.stderr
    assert ended.stdout == ""


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--set", 'thresholds=["notify.latncy.p99 < 1s"]'], ["small.toml: thresholds[0]", "notify.latency.p99"]),
        (
            ["--set", 'thresholds=[{ threshold = "notify.lost", abort_on_fail = true }]'],
            ["small.toml: thresholds[0]", "a threshold such as"],
        ),
        (["--set", 'mse.identities=["a.pem", "b.pem"]'], ["a.pem: expected", "b.pem: expected", "no such file"]),
        (["--set", "wlc.auth_list=nobody.txt"], ["nobody.txt: expected", "no such file"]),
        (["--set", "wlc.trust=nobody.pem"], ["nobody.pem: expected", "no such file"]),
        (["--set", "tls.trust=small.toml"], ["small.toml: expected", "certificates"]),
        (["--set", "wlc.aaa.lists=[{}, { auth_list = 'x.txt' }]"], ["x.txt: expected", "no such file"]),
        (["--serve", "wlc"], ["small.toml: wlc.auth_list", "a file of key hashes"]),
        (["--set", 'capacity.slo=["bogus > 1"]'], ["small.toml: capacity.slo[0]", '"bogus"']),
        (["--set", "capacity.start={ pace = 3 }"], ["small.toml: capacity.start.pace", "an unknown key"]),
        (
            ["--set", 'thresholds=["x > 1"]', "--set", "wlc.auth_list=nobody.txt"],
            ["small.toml: thresholds[0]", "nobody.txt: expected"],
        ),
    ],
)
def test_a_plan_refuses_what_a_run_refuses(loadgen: Loadgen, words: list[str], said: list[str]) -> None:
    plan, run = loadgen("plan", "small.toml", *words), loadgen("run", "small.toml", *words)
    assert plan.code == run.code == 2
    assert plan.stderr == run.stderr
    for part in said:
        assert part in plan.stderr
    assert sorted(path.name for path in Path().iterdir()) == ["small.toml"]


# -- what options mean -------------------------------------------------------------------------------------------------


def settings_of(path: Path, *overrides: str, **options: object) -> dict[Dimension, object]:
    source = SourceOptions(path, overrides, None, None, "1")
    asked: dict[str, object] = {
        "source": source,
        "dimensions": (),
        "slos": (),
        "starts": (),
        "maxima": (),
        "resolution": None,
        "hold": None,
        "confirm": None,
        "wait": None,
        "results": path.parent / "results",
        **options,
    }
    made = CapacityOptions(**asked)  # type: ignore[arg-type]
    return {each.dimension: each for each in searches_of(made, read_source(source))}


@pytest.fixture
def small(tmp_path: Path) -> Path:
    path = tmp_path / "small.toml"
    path.write_text(SMALL, "utf-8")
    return path


@pytest.mark.parametrize(
    ("dimension", "start"), [("sessions", 8), ("stations", 40), ("notify.per_s", 2000), ("handshake.per_s", 50)]
)
def test_a_search_begins_at_the_scenarios_own_size(small: Path, dimension: str, start: float) -> None:
    (made,) = settings_of(small, "wlc.stations=10", dimensions=(dimension,)).values()
    assert made.start == start  # type: ignore[attr-defined]


def test_a_search_for_sessions_begins_at_those_of_a_handshake_scenario(small: Path) -> None:
    (made,) = settings_of(small, "load.kind=handshake", dimensions=("sessions",)).values()
    assert made.start == 8  # type: ignore[attr-defined]


def test_options_come_before_the_scenario(small: Path) -> None:
    overrides = (
        *('capacity.dimensions=["sessions"]', "capacity.start={ sessions = 20 }", "capacity.max={ sessions = 30 }"),
        *('capacity.hold="7s"', "capacity.resolution=0.5", 'capacity.slo=["sessions.failed == 0"]'),
    )
    (made,) = settings_of(small, *overrides).values()
    assert made[3:6] == (20, 30, 0.5)  # type: ignore[index]
    assert made.hold_ns == 7 * NS_PER_S  # type: ignore[attr-defined]
    options = {"starts": ("sessions=2",), "maxima": ("4",), "resolution": "10%", "hold": "3s", "confirm": "1m"}
    (made,) = settings_of(small, *overrides, slos=("sessions.lost == 0",), **options).values()
    assert made[3:6] == (2, 4, 0.1)  # type: ignore[index]
    assert (made.hold_ns, made.confirm_ns) == (3 * NS_PER_S, 60 * NS_PER_S)  # type: ignore[attr-defined]
    assert [slo.name for slo in made.slos] == ["sessions.lost"]  # type: ignore[attr-defined]


def test_what_is_sent_of_each_notification_is_where_a_search_begins(small: Path) -> None:
    """notify.per_s counts what is on the wire, as load.wire_rate does."""
    small.write_text(SMALL.replace("rate = 1000", "wire_rate = 700"), "utf-8")
    (made,) = settings_of(small, dimensions=("notify.per_s",)).values()
    assert made.start == 700  # type: ignore[attr-defined]


def test_a_start_beyond_the_maximum_is_the_maximum(small: Path) -> None:
    (made,) = settings_of(small, dimensions=("sessions",), starts=("9",), maxima=("4",)).values()
    assert made[3:5] == (4, 4)  # type: ignore[index]


# -- plan --------------------------------------------------------------------------------------------------------------


def test_a_plan_is_arithmetic_and_leaves_nothing(loadgen: Loadgen) -> None:
    ended = loadgen("plan", "small.toml", "--json", "--workers", "2")
    assert (ended.code, ended.stderr) == (0, "")
    found = json.loads(ended.stdout)
    assert (found["wlcs"], found["mses"], found["sessions"], found["most_sessions_of_a_wlc"]) == (4, 2, 8, 2)
    assert (found["workers"], found["load_s"], found["total"]) == (2, 0.5, 1000)
    assert [stage["start_per_s"] for stage in found["stages"]] == [2000]
    assert sorted(path.name for path in Path().iterdir()) == ["small.toml"]
    shown = loadgen("plan", "small.toml").stdout
    assert found["plan_digest"] in shown


def test_a_plan_of_another_length(loadgen: Loadgen) -> None:
    assert json.loads(loadgen("plan", "small.toml", "--json", "--duration", "2s").stdout)["total"] == 4000
