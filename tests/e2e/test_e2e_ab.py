"""`loadgen ab`: targets that are commands or addresses, and what becomes of them."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from e2e_loadgen import PATIENCE_S, REPO, Identities, Run, Start, eventually, process_is_gone
from ports import free_port

WLC = shlex.join([sys.executable, "-m", "benchmarks.counterparts.wlc", "--duration", "120s", "--rate", "200"])
FEW = ("--pairs", "2", "--control", "0", "--workers", "1")
SCENARIO = """
name = "pairs"
[wlc]
count = 1
[mse]
count = 1
[tls]
trust = "any"
[load]
rate = 1
stages = [{ hold = "500ms" }]
"""


@pytest.fixture
def scenario(tmp_path: Path) -> Path:
    path = tmp_path / "pairs.toml"
    path.write_text(SCENARIO, "utf-8")
    return path


def script(path: Path, text: str) -> str:
    """A target that is a few lines of Python."""
    path.write_text(text, "utf-8")
    return shlex.join([sys.executable, str(path)])


def counters_of(out: Path) -> list[dict[str, int]]:
    """Of each single run. A comparison leaves those out in which this machine had no time for it."""
    paths = sorted(out.glob("*/[0-9][0-9]-[AB]/result.json"))
    return [json.loads(path.read_text("utf-8"))["counters"] for path in paths]


def test_commands_are_started_for_every_run_and_ended(run: Run, scenario: Path, tmp_path: Path) -> None:
    """Also what a target started itself, which B does."""
    started, child = tmp_path / "started", tmp_path / "child"
    # Each start leaves its process id.
    target = script(
        tmp_path / "target.py",
        f"import os, shlex\nopen({str(started)!r}, 'a').write(f'{{os.getpid()}}\\n')\n"
        f"words = shlex.split({WLC!r})\nos.execv(words[0], words)\n",
    )
    parent = script(
        tmp_path / "parent.py",
        f"import os, shlex, subprocess\nopen({str(started)!r}, 'a').write(f'{{os.getpid()}}\\n')\n"
        f"process = subprocess.Popen(shlex.split({WLC!r}))\n"
        f"open({str(child)!r}, 'a').write(f'{{process.pid}}\\n')\n"
        "process.wait()\n",
    )
    ended = run("ab", scenario, *FEW, "--a", target, "--b", parent, "--json", results=tmp_path / "out")
    # Two pairs tell next to nothing of timings; what is exact must not differ.
    assert ended.code in (0, 5), ended.stderr + ended.stdout
    result = json.loads(ended.stdout)
    assert (result["document"], result["order"], result["exit_code"]) == ("comparison", "ABBA", ended.code)
    decisions = {metric["metric"]: metric for metric in result["metrics"]}
    for name in ("errors", "sessions.failed", "notify.lost"):
        assert decisions[name]["decision"] == "pass"
    assert decisions["target.cpu_s"]["new_runs"]
    assert all(value > 0 for value in decisions["target.rss_bytes"]["new_runs"])
    pids = [int(line) for line in started.read_text("ascii").split()]
    children = [int(line) for line in child.read_text("ascii").split()]
    assert (len(set(pids)), len(set(children))) == (4, 2)
    assert all(process_is_gone(pid) for pid in pids + children)
    (folder,) = (tmp_path / "out").iterdir()
    assert json.loads((folder / "result.json").read_text("utf-8")) == result
    assert (folder / "report.html").is_file()
    assert sorted(path.name for path in folder.iterdir() if path.is_dir()) == ["01-A", "02-B", "03-B", "04-A"]
    assert all((path / "result.json").is_file() for path in folder.iterdir() if path.is_dir())


WORKFLOW = REPO / ".github" / "workflows" / "performance.yml"


def test_the_workflow_that_judges_us_runs(identities: Identities, tmp_path: Path) -> None:
    """Its own lines, with both sides played by this build, and a load of half a second."""
    steps = {
        step["name"]: step["run"]
        for step in yaml.safe_load(WORKFLOW.read_text("utf-8"))["jobs"]["compare"]["steps"]
        if "run" in step
    }
    here, base = tmp_path / "here", tmp_path / "base"
    for side in (here, base):
        (side / ".venv" / "bin").mkdir(parents=True)
        command = side / ".venv" / "bin" / "loadgen"
        command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m loadgen "$@"\n', "utf-8")
        command.chmod(0o755)
        folder = side / "scenarios" / "two-sides"
        shutil.copytree(identities.auth_list.parent, folder / "keys")
        text = (REPO / "scenarios" / "two-sides" / "scenario.toml").read_text("utf-8")
        pems = [f"keys/{path.name}" for path in identities.pems]
        # Ports that the kernel chooses: others test on this machine, too.
        text = re.sub('listen = ".*"', 'listen = "127.77.9.1:0"', text)
        text = re.sub("identities = .*", f"identities = {json.dumps(pems)}", text)
        text = re.sub('ramp = ".*?"', 'ramp = "100ms"', text)
        (folder / "scenario.toml").write_text(text, "utf-8")
    pairs = steps["Timings in pairs"]
    assert "--pairs 6" in pairs
    done = subprocess.run(
        ["bash", "-e", "-c", pairs.replace("--pairs 6", " ".join((*FEW, "--duration 500ms")))],
        cwd=here,
        env=os.environ | {"SCENARIO": "scenarios/two-sides/scenario.toml", "GITHUB_OUTPUT": str(tmp_path / "output")},
        capture_output=True,
        text=True,
        timeout=4 * PATIENCE_S,
    )
    assert done.returncode in (0, 1, 5), done.stderr + done.stdout
    assert (tmp_path / "output").read_text("utf-8").startswith("code=")
    runs = counters_of(here / "ab")
    # 20 WLCs with two MSEs each: every one was told of, and dialed.
    assert [(counters["sessions.attempted"], counters["sessions.failed"]) for counters in runs] == [(40, 0)] * 4


def test_a_target_with_faults_is_a_regression(run: Run, scenario: Path, tmp_path: Path) -> None:
    ended = run("ab", scenario, *FEW, "--a", WLC, "--b", f"{WLC} --lose 20", results=tmp_path / "out")
    assert ended.code == 1, ended.stderr
    assert "REGRESSION" in ended.stdout
    assert "notify.lost: 0 in every run of the baseline" in ended.stdout


def test_mses_dial_the_wlcs_that_are_ours(run: Run, tmp_path: Path) -> None:
    port = free_port("127.77.5.1")
    path = tmp_path / "serving.toml"
    path.write_text(
        f'name = "serving"\n[wlc]\nlisten = "127.77.5.1:{port}"\nauthenticate = false\n'
        '[load]\nrate = 200\nstages = [{ hold = "500ms" }]\n',
        "utf-8",
    )
    mse = shlex.join([sys.executable, "-m", "benchmarks.counterparts.mse", "--wlc", f"127.77.5.1:{port}"])
    ended = run(
        "ab", path, *FEW, "--serve", "wlc", "--a", mse, "--b", mse, "--format", "json", results=tmp_path / "out"
    )
    assert ended.code in (0, 5), ended.stderr + ended.stdout
    runs = counters_of(tmp_path / "out")
    assert [counters["sessions.established"] for counters in runs] == [1] * 4
    assert all(0 < counters["notify.sent"] <= counters["notify.due"] == 100 for counters in runs)


@pytest.mark.parametrize(
    ("target", "parts"),
    [
        ("/no/such/program", ["--a", "a command that can be started: /no/such/program", "no such file"]),
        ("'", ["--a", "a command", "no closing quotation"]),
        ("", ["--a", "nothing"]),
        (
            f"{sys.executable} -c 'import sys; sys.exit(\"port in use\")'",
            ["--a", "a line on stdout when it is ready", "exit code 1: port in use"],
        ),
        (f'{sys.executable} -c \'print("x" * 5_000_000, end="")\'', ["--a", "a line on stdout", "no end of a line"]),
        (
            f"{sys.executable} -c 'import os, time; os.close(1); time.sleep(30)'",
            ["--a", "a line on stdout when it is ready", "stdout closed, and still running"],
        ),
        (f"{sys.executable} -c 'print(1)'", ["--a", "a command that goes on until it is ended", "exit code 0"]),
        (f"{sys.executable} -c 'print(\"at h:99999\", flush=True); input()'", ["--a: its first line", "an address"]),
        ("wlc=nowhere", ["--a", "an address and a port", '"nowhere"']),
        ("wlc=127.0.0.1:0", ["--a", "a port of 1 to 65535"]),
    ],
)
def test_a_target_that_is_none(run: Run, scenario: Path, tmp_path: Path, target: str, parts: list[str]) -> None:
    ended = run("ab", scenario, *FEW, "--a", target, "--b", WLC, results=tmp_path / "out")
    assert ended.code == 2, ended.stderr
    assert "Traceback" not in ended.stderr
    for part in parts:
        assert part.lower() in ended.stderr.lower()


@pytest.mark.parametrize(
    ("options", "part"),
    [
        (("--pairs", "1"), "--pairs: expected at least 2 pairs"),
        (("--control", "-1"), "--control: expected 0 or more"),
        (("--target", "wlc=127.0.0.1:1"), "--a and --b are the targets"),
        (("--serve", "mse"), "--a and --b are the targets"),
        (("--serve", "wlc", "--b", "wlc=127.0.0.1:1"), "commands that start MSEs"),
    ],
)
def test_options_that_do_not_go_together(
    run: Run, scenario: Path, tmp_path: Path, options: tuple[str, ...], part: str
) -> None:
    ended = run("ab", scenario, "--a", WLC, "--b", WLC, *options, results=tmp_path / "out")
    assert ended.code == 2
    assert part in ended.stderr
    assert ended.folders == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP, signal.SIGKILL])
def test_however_it_ends_the_target_is_ended_too(
    start: Start, scenario: Path, tmp_path: Path, number: signal.Signals
) -> None:
    started = tmp_path / "started"
    target = script(
        tmp_path / "target.py",
        f"import os, shlex\nopen({str(started)!r}, 'a').write(f'{{os.getpid()}}\\n')\n"
        f"words = shlex.split({WLC!r})\nos.execv(words[0], words)\n",
    )
    running = start(
        *("ab", scenario, *FEW, "--duration", "10m", "--a", target, "--b", target), results=tmp_path / "out"
    )
    running.wait_for_line("hold")
    running.signal(number)
    ended = running.end()
    assert ended.code == (-number if number is signal.SIGKILL else 130), ended.stderr
    assert "Traceback" not in ended.stderr
    if number is not signal.SIGKILL:
        assert "interrupted: 1 of 4 runs are in " in ended.stderr
    (pid,) = [int(line) for line in started.read_text("ascii").split()]
    eventually(lambda: process_is_gone(pid), "the target to be gone")


def test_a_target_that_talks_on_is_not_held_up_and_the_time_of_day_is_no_address(
    run: Run, scenario: Path, tmp_path: Path
) -> None:
    """A says more than a pipe holds after the line that it is ready, and then serves; B's line begins with the time."""
    talking = script(
        tmp_path / "talking.py",
        f"""
import shlex, subprocess, sys
process = subprocess.Popen(shlex.split({WLC!r}), stdout=subprocess.PIPE)
sys.stdout.write(process.stdout.readline().decode())
sys.stdout.write("busy\\n" * 100_000)
sys.stdout.flush()
open({str(tmp_path / "talked")!r}, "a").write("x")
process.wait()
""",
    )
    dated = script(
        tmp_path / "dated.py",
        f"""
import shlex, subprocess
process = subprocess.Popen(shlex.split({WLC!r}), stdout=subprocess.PIPE)
line = process.stdout.readline().decode().strip()
print("2026-11-23 16:04:51 INFO listening on", line.removeprefix("ready "), flush=True)
process.wait()
""",
    )
    ended = run("ab", scenario, *FEW, "--a", talking, "--b", dated, "--json", results=tmp_path / "out")
    assert ended.code in (0, 1, 5), ended.stderr
    assert (tmp_path / "talked").read_text("ascii") == "xx"
    runs = counters_of(tmp_path / "out")
    assert [(counters["sessions.established"], counters["sessions.failed"]) for counters in runs] == [(1, 0)] * 4
