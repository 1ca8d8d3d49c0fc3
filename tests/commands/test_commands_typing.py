"""The types of the public Python API, as mypy sees them in somebody else's strict program."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import loadgen

GOOD = """
from collections.abc import Sequence
from pathlib import Path

from loadgen.capacity.result import CapacityResult
from loadgen.commands import DimensionName, capacity, compare, run
from loadgen.compare.result import Comparison
from loadgen.errors import InputError
from loadgen.measure.progress import Snapshot
from loadgen.results.result import RunResult


def show(snapshot: Snapshot) -> None:
    print(snapshot.per_s["notify.received"] + 1.0)


def listening(addresses: Sequence[tuple[str, int]]) -> None:
    print([port + 1 for _, port in addresses])


def measure(path: Path, dimension: DimensionName) -> tuple[RunResult, CapacityResult, Comparison]:
    first = run(path, overrides=["wlc.count=2"], serve="wlc", workers=2, on_progress=show, on_listening=listening)
    second = run({"name": "x"}, target="wlc=192.0.2.1:1", duration="1s", results=path, on_line=print)
    limit = capacity(str(path), dimensions=[dimension, "sessions"], start={"sessions": 5}, resolution=0.1)
    try:
        return first, limit, compare([first, path], [second, "results"], relevant_rate=0.1)
    except InputError as error:
        where: str = error.problems[0].where
        raise SystemExit(where) from error


p50: float | None = run("x.toml").metrics["notify.latency"].p50
"""
# Each line by itself, and the code of the error that it is refused with.
BAD = {
    'run("x.toml", serve="ap")': "arg-type",
    'run("x.toml", workers="many")': "arg-type",
    'run("x.toml", workers=None)': "arg-type",
    "run(3)": "arg-type",
    "run()": "call-arg",
    'run("x.toml", ["wlc.count=3"])': "call-arg",
    'run("x.toml", thresholds=[5])': "list-item",
    'run("x.toml", loud=True)': "call-arg",
    'run("x.toml", on_progress=5)': "arg-type",
    'run("x.toml").verdict.outcom': "attr-defined",
    'x: int = run("x.toml").load_s': "assignment",
    'capacity("x.toml", dimensions=["tempo"])': "list-item",
    'capacity("x.toml", maximum=5)': "arg-type",
    'capacity("x.toml").limit': "attr-defined",
    "compare([3], [4])": "list-item",
    "compare(run, run)": "arg-type",
}


def mypy(program: str, folder: Path, cache: Path) -> list[str]:
    """What mypy says of a program that lies outside of the project, with `loadgen` as it is installed.

    Args: cache: where it keeps what it knows of sources that have not changed since.
    """
    (folder / "program.py").write_text(program, "utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--cache-dir", str(cache), "program.py"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_the_package_says_that_it_is_typed() -> None:
    assert (Path(loadgen.__file__).parent / "py.typed").is_file()


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> list[str]:
    """Of both programs in one file: mypy reads the package once."""
    bad = "from typing import Any\n" + "\n".join(BAD)
    cache = pytestconfig.cache.mkdir("mypy")
    return mypy(textwrap.dedent(GOOD) + bad + "\n", tmp_path_factory.mktemp("typing"), cache)


def test_a_program_that_uses_it_well_has_no_errors(said: list[str]) -> None:
    lines = len(GOOD.splitlines()) + 1
    assert [line for line in said if ": error:" in line and int(line.split(":")[1]) <= lines] == []


@pytest.mark.parametrize("line", BAD)
def test_a_program_that_misuses_it_is_refused(said: list[str], line: str) -> None:
    number = len(GOOD.splitlines()) + 2 + list(BAD).index(line)
    of_line = [text for text in said if text.startswith(f"program.py:{number}: error:")]
    assert of_line != []
    assert all(text.endswith(f"[{BAD[line]}]") for text in of_line), of_line
