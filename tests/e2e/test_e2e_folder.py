"""What a run leaves when its folder takes no more, when it is asked to end while it writes, and when it is killed."""

from __future__ import annotations

import json
import resource
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
from e2e_loadgen import LOADGEN, SMALL, Running, Start, eventually

from loadgen.commands.options import RunOptions, SourceOptions
from loadgen.commands.showing_run import run_scenario
from loadgen.measure.hlog import read_hlog_untrusted
from loadgen.report import html
from loadgen.report.html import run_page
from loadgen.run import signals

LONG = SMALL.replace("500ms", "10m")
FILES = {"plan.json", "result.json", "report.html", "histograms.hlog"}
# More than plan.json has, and the summary; less than any of the others.
_SMALL_DISK_BYTES = 2600


@pytest.fixture
def long(tmp_path: Path) -> Path:
    path = tmp_path / "long.toml"
    path.write_text(LONG, "utf-8")
    return path


def the_folder(running: Running) -> Path:
    (folder,) = running.results.iterdir()
    return folder


def logged(running: Running) -> bool:
    """Some intervals of the load have come to the disk."""
    assert running.process.poll() is None, running.stderr
    if not running.results.is_dir() or not list(running.results.iterdir()):
        return False
    log = the_folder(running) / "histograms.hlog"
    return log.exists() and log.read_text("ascii").count("Tag=hold/notify.latency") >= 2


def test_killed_it_leaves_a_folder_with_all_that_was_whole(start: Start, long: Path) -> None:
    running = start("run", long, "--workers", "1")
    eventually(lambda: logged(running), "two intervals in the log")
    running.process.kill()
    ended = running.end()
    folder, log = ended.folder, ended.folder / "histograms.hlog"
    assert {path.name for path in folder.iterdir() if not path.name.startswith(".")} == FILES - {"report.html"}
    result = ended.result
    assert result["unfinished"]
    verdict = result["verdict"]
    assert (verdict["outcome"], verdict["exit_code"], verdict["generator"]) == ("unfinished", 130, "INVALID")
    assert verdict["reasons"][0] == "the run had not ended when this was written"
    curves = read_hlog_untrusted(log, unfinished=True)
    # The log may be one interval ahead; what a worker has told and the other has not is only in the figures.
    intervals = log.read_bytes().count(b"Tag=hold/notify.latency")
    rows = [rate for rate in result["timeline"]["columns"]["notify.latency.max"] if rate is not None]
    assert len(rows) in (intervals, intervals - 1)
    assert curves["hold/notify.latency"].count > 200
    # Killed over a line.
    with log.open("ab") as stream:
        stream.write(b"Tag=hold/notify.lat")
    report = start("report", folder).end()
    assert report.code == 0, report.stderr
    page = (folder / "report.html").read_text("utf-8")
    assert "the run had not ended when this was written" in page


def test_a_disk_that_is_full_costs_the_files_that_it_does_not_take(start: Start, small: Path) -> None:
    running = start(
        *("run", small, "--workers", "1"),
        command=LOADGEN,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (_SMALL_DISK_BYTES, _SMALL_DISK_BYTES)),
    )
    ended = running.end()
    # 4: this machine was busy; the verdict's own code weighs more.
    assert ended.code in (7, 4), ended.stderr
    assert "Traceback" not in ended.stderr
    assert "notify.latency" in ended.stdout  # the summary
    told = [line for line in ended.stderr.splitlines() if "expected a file that can be written" in line]
    assert len(told) == 3
    for name in ("result.json", "report.html", "histograms.hlog"):
        assert any(f"{ended.folder / name}: " in line and "file too large" in line for line in told), told
    left = {path.name for path in ended.folder.iterdir()}
    assert left in ({"plan.json", "histograms.hlog"}, {"plan.json", "histograms.hlog", "result.json"})
    assert "result.json" not in left or ended.result["unfinished"]  # from before anything was measured
    # What the log has are whole lines.
    assert read_hlog_untrusted(ended.folder / "histograms.hlog") is not None


def test_a_folder_that_is_gone_costs_no_summary(start: Start, long: Path) -> None:
    running = start("run", long, "--workers", "1", "--json")
    eventually(lambda: logged(running), "two intervals in the log")
    shutil.rmtree(the_folder(running))
    running.signal(signal.SIGHUP)
    ended = running.end()
    assert ended.code == 130, ended.stderr
    result = json.loads(ended.stdout)
    assert result["verdict"]["outcome"] == "interrupted"
    # What came after the load was ended is in none of its stages.
    assert 200 < result["metrics"]["notify.latency"]["count"] <= result["counters"]["notify.received"]
    for name in FILES - {"plan.json"}:
        assert f"{name}: expected a file that can be written, found no such file or directory" in ended.stderr


def test_asked_to_end_while_it_writes_it_writes_all(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[int] = []

    def page(*arguments: Any) -> str:
        for number in signals.ending():
            signal.raise_signal(number)
            asked.append(number)
        return run_page(*arguments)

    monkeypatch.setattr(html, "run_page", page)
    monkeypatch.setattr(signals, "_noted", False)
    source = SourceOptions(small, (), None, None, "1")
    options = RunOptions(source, None, None, tmp_path / "r", ())
    code = run_scenario(options, json=False, quiet=True, trace=None, trace_limit=None)
    assert asked == [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
    (folder,) = (tmp_path / "r").iterdir()
    assert {path.name for path in folder.iterdir()} == FILES
    result = json.loads((folder / "result.json").read_text("utf-8"))
    assert result["verdict"]["exit_code"] == code
    assert not result["unfinished"]
    assert capsys.readouterr().err == ""
