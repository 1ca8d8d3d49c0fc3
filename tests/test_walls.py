"""The walls of the house: who may import whom, who may know of time and network, and names that documents promise."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from loadgen.measure.names import COSTS, COUNTERS, METRICS, RATES

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "loadgen"
MODULES = sorted(PACKAGE.rglob("*.py"))

# A module may import its own room and rooms to its left.
ROOMS = [
    *("base", "nmsp", "identity", "scenario", "measure", "compare", "endpoint", "transport", "status", "engine"),
    *("diagnosis", "capacity", "report", "swarm", "cli"),
]
BASE = {"__init__", "__version__", "errors", "files", "foreign", "hosts", "units", "strict", "loads"}
SANS_IO = {"base", "nmsp", "identity", "scenario", "measure", "endpoint"}
# Rooms that may know less than their place in the row allows.
NARROW = {
    "nmsp": {"base", "nmsp"},
    "identity": {"base", "identity"},
    "scenario": {"base", "nmsp", "scenario"},
    "measure": {"base", "measure"},
    "endpoint": {"base", "nmsp", "identity", "scenario", "measure", "endpoint"},
    "transport": {"base", "transport"},
    "compare": {"base", "measure", "compare"},
    "status": {"base", "nmsp", "status"},
}
MAX_LINES = 500


def room_of(module: str) -> str:
    """The room of a dotted name: "loadgen.nmsp.codec" is in nmsp, "loadgen.errors" at the base."""
    parts = module.split(".")
    assert parts[0] == "loadgen"
    if len(parts) == 1 or parts[1] in BASE:
        return "base"
    return "cli" if parts[1] == "__main__" else parts[1]


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"), str(path))


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Every import of a module, also those inside functions: (line, dotted name)."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import"
            assert node.module is not None
            # `from loadgen.measure import thresholds` imports a module, `from time import time` a function.
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def calls_on(path: Path, module: str) -> Iterator[tuple[int, str]]:
    """Attributes that are read off a module: `time.time_ns` gives "time_ns"; names it was imported under count too."""
    names = {module}
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            names |= {alias.asname for alias in node.names if alias.name == module and alias.asname}
        elif isinstance(node, ast.ImportFrom) and node.module == module:
            yield from ((node.lineno, alias.name) for alias in node.names)
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in names:
            yield node.lineno, node.attr


def places(found: Iterator[tuple[int, str]], path: Path) -> list[str]:
    return [f"{path.relative_to(ROOT)}:{line}: {what}" for line, what in found]


def test_every_module_is_in_a_room() -> None:
    assert len(MODULES) > 40
    assert {room_of(name_of(path)) for path in MODULES} <= set(ROOMS)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_go_down_only(path: Path) -> None:
    room = room_of(name_of(path))
    allowed = NARROW.get(room, set(ROOMS[: ROOMS.index(room) + 1]))
    ours = ((line, name) for line, name in imports(path) if name.split(".")[0] == "loadgen")
    wrong = ((line, name) for line, name in ours if room_of(name) not in allowed)
    assert places(wrong, path) == []


@pytest.mark.parametrize("path", [p for p in MODULES if room_of(name_of(p)) in SANS_IO], ids=name_of)
def test_what_thinks_does_no_input_or_output(path: Path) -> None:
    forbidden = {"trio", "socket", "select", "selectors", "asyncio", "ssl", "threading", "OpenSSL", "subprocess"}
    wrong = [(line, name) for line, name in imports(path) if name.split(".")[0] in forbidden]
    clock = [(line, f"time.{name}") for line, name in imports(path) if name.split(".")[0] == "time"]
    today = [(line, f"datetime.{name}") for line, name in calls_on(path, "datetime") if name in ("now", "utcnow")]
    assert places(iter(wrong + clock + today), path) == []


def test_the_transport_knows_nothing_of_the_protocol() -> None:
    for path in (PACKAGE / "transport").rglob("*.py"):
        ours = {name for _, name in imports(path) if name.split(".")[0] == "loadgen"}
        assert {room_of(name) for name in ours} <= {"base", "transport"}
        names = {node.id for node in ast.walk(tree_of(path)) if isinstance(node, ast.Name)}
        assert not {name for name in names if "nmsp" in name.lower() or name in ("Kind", "Session", "Codec")}


def test_one_module_knows_the_histogram_library() -> None:
    users = {name_of(path) for path in MODULES for _, name in imports(path) if name.split(".")[0] == "hdrh"}
    assert users == {"loadgen.measure.histogram"}


def test_the_wall_clock_is_read_at_three_places() -> None:
    """Everything else is monotonic, and becomes wall-clock time by an anchor; a Locust master has other machines', and
    the kernel dates packets by it.
    """
    wall = {"time", "time_ns", "localtime", "gmtime", "ctime"}
    found = [(name_of(path), what) for path in MODULES for _, what in calls_on(path, "time") if what in wall]
    places = ("loadgen.engine.supervisor", "loadgen.swarm.leader", "loadgen.transport.waiting")
    assert found == [(place, "time_ns") for place in places]


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_no_module_is_too_long(path: Path) -> None:
    assert len(path.read_text("utf-8").splitlines()) <= MAX_LINES


@pytest.mark.parametrize("module", ["loadgen", "loadgen.cli.main"])
def test_starting_the_command_loads_nothing_heavy(module: str) -> None:
    """trio and gevent cannot share a process, so importing us must bring neither."""
    code = f"import sys, {module}; print(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    loaded = set(done.stdout.split())
    assert "loadgen" in loaded
    assert not loaded & {"trio", "gevent", "locust", "OpenSSL", "numpy", "hdrh"}


def test_the_first_words_of_this_test_would_catch_an_import(tmp_path: Path) -> None:
    """The readers above, on a module that breaks every wall."""
    path = tmp_path / "bad.py"
    path.write_text(
        "from time import monotonic_ns\nimport time as t\n\ndef f():\n    import trio.lowlevel\n    return t.time()\n",
        "utf-8",
    )
    assert sorted(imports(path)) == [(1, "time.monotonic_ns"), (2, "time"), (5, "trio.lowlevel")]
    assert sorted(calls_on(path, "time")) == [(1, "monotonic_ns"), (6, "time")]


# -- documents ---------------------------------------------------------------------------------------------------------


def test_every_figure_of_a_result_is_documented() -> None:
    text = (ROOT / "docs" / "metrics.md").read_text("utf-8")
    missing = [name for name in (*METRICS, *COUNTERS, *RATES, *COSTS) if f"`{name}`" not in text]
    assert missing == []


def test_no_figure_is_documented_that_no_run_has() -> None:
    """Names of the documents' tables: the first cell of a row, in backticks, with a dot in it."""
    lines = (ROOT / "docs" / "metrics.md").read_text("utf-8").splitlines()
    cells = [line.split("|")[1].strip() for line in lines if line.startswith("| `")]
    named = {cell.strip("`") for cell in cells if "." in cell and not cell.startswith("`errors.")}
    assert named
    assert named - {*METRICS, *COUNTERS, *RATES, *COSTS} == set()


def test_every_fault_of_a_peer_is_documented() -> None:
    """The kinds that the code raises under a constant name."""
    kinds = {
        node.args[0].value
        for path in MODULES
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "RemoteProtocolError"
        if isinstance(node.args[0], ast.Constant)
    }
    assert len(kinds) >= 8
    text = (ROOT / "docs" / "metrics.md").read_text("utf-8")
    assert [kind for kind in sorted(kinds) if f"`{kind}`" not in text] == []


def test_names_are_unambiguous() -> None:
    assert not METRICS.keys() & COUNTERS.keys()
    assert not RATES.keys() & COUNTERS.keys()
    assert all(meaning for table in (METRICS, COUNTERS, RATES, COSTS) for meaning in table.values())
