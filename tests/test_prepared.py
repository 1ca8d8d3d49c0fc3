"""A program that was prepared is a process as one that is started in the ordinary way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import prepared
import pytest

REPO = Path(__file__).parents[1]
QUICK = "scenarios/quick.toml"
PATIENCE_S = 60.0  # only reached by a test that has failed


@pytest.fixture(autouse=True)
def nothing_ignored() -> Iterator[None]:
    """The shell that runs the tests may have had them ignore a signal, and they hand that on."""
    before = {number: signal.signal(number, signal.SIG_DFL) for number in (signal.SIGTERM, signal.SIGHUP)}
    before[signal.SIGINT] = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(scope="module")
def tool() -> Iterator[prepared.Prepared]:
    """`python -m json.tool`: it waits for its stdin, and does what it is told there."""
    made = prepared.Prepared("json.tool", "json")
    yield made
    made.close()


@pytest.mark.parametrize(
    "arguments", [["--version"], ["rum"], ["schema", "plan"], ["run", QUICK, "--set", "wlc.count=x"]]
)
def test_the_same_output_and_exit_code(arguments: list[str]) -> None:
    found = prepared.loadgen().run(arguments, PATIENCE_S, cwd=REPO)
    ordinary = subprocess.run(
        [sys.executable, "-m", "loadgen", *arguments], cwd=REPO, capture_output=True, text=True, timeout=PATIENCE_S
    )
    assert (found.returncode, found.stdout, found.stderr) == (ordinary.returncode, ordinary.stdout, ordinary.stderr)


def test_streams_and_directory(tool: prepared.Prepared, tmp_path: Path) -> None:
    (tmp_path / "given.json").write_text("[1]", "utf-8")
    with tool.start(["--compact", "given.json"], stdout=subprocess.PIPE, cwd=tmp_path) as process:
        assert process.wait(PATIENCE_S) == 0
        assert process.stdout is not None
        assert process.stdout.read() == "[1]\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_a_signal_ends_it(tool: prepared.Prepared, number: int) -> None:
    with tool.start(stdin=subprocess.PIPE) as process:
        assert process.poll() is None
        process.send_signal(number)
        assert process.wait(PATIENCE_S) == -number


def test_what_we_ignore_it_ignores(tool: prepared.Prepared) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        process = tool.start(stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    finally:
        signal.signal(signal.SIGHUP, before)
    with process:
        process.send_signal(signal.SIGHUP)
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("{}")
        process.stdin.close()
        assert process.stdout.read() == "{}\n"
        assert process.wait(PATIENCE_S) == 0


@pytest.mark.parametrize("own", [False, True])
def test_it_is_in_our_group_or_leads_one(tool: prepared.Prepared, own: bool) -> None:
    with tool.start(stdin=subprocess.PIPE, start_new_session=own) as process:
        assert os.getpgid(process.pid) == (process.pid if own else os.getpgrp())
        process.kill()
