"""The walls of the house: who may import whom, who may know of time and network, and names that documents promise."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Collection, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from loadgen.measure.names import COSTS, COUNTERS, METRICS, RATES

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "loadgen"
MADE = PACKAGE / "native" / "_declared.py"  # at install, by hatch_build.py
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path != MADE)

# A module may import its own room and rooms to its left.
ROOMS = [
    *("base", "native", "nmsp", "identity", "capture", "infer", "scenario", "measure", "session", "replay", "world"),
    *("results", "compare", "transport"),
    *("status", "prepare", "drive", "run", "diagnosis", "relay", "capacity", "report", "commands"),
    *("distributed", "distributed.node", "distributed.master", "cli"),
]
BASE = {
    "__init__",
    "__version__",
    "errors",
    "clock",
    "distinct",
    "files",
    "foreign",
    "hosts",
    "units",
    "strict",
    "loads",
    "transports",
}
SANS_IO = {
    *("base", "nmsp", "identity", "capture", "infer", "scenario", "measure", "session", "replay", "world", "results"),
}
# Rooms that may know less than their place in the row allows.
NARROW = {
    "native": {"base", "native"},
    "nmsp": {"base", "nmsp"},
    "identity": {"base", "identity"},
    "capture": {"base", "capture"},
    "infer": {"base", "nmsp", "capture", "infer"},
    "scenario": {"base", "nmsp", "scenario"},
    "replay": {"base", "nmsp", "capture", "scenario", "session", "replay"},
    "measure": {"base", "native", "measure"},
    "session": {"base", "nmsp", "scenario", "measure", "session"},
    "world": {"base", "nmsp", "scenario", "session", "world"},
    "results": {"base", "native", "scenario", "measure", "results"},
    "transport": {"base", "transport"},
    "compare": {"base", "measure", "results", "compare"},
    "status": {"base", "nmsp", "status"},
    "prepare": {"base", "native", "nmsp", "identity", "scenario", "replay", "measure", "results", "transport"}
    | {"prepare"},
    "relay": {"base", "identity", "capture", "transport", "diagnosis", "relay"},
}
# Rooms that never share a process.
APART = {"distributed.master": "distributed.node", "distributed.node": "distributed.master"}
# What the modules of a room import nowhere, not even inside of a function.
NEVER = {
    "prepare": {"trio", "OpenSSL"},
    "results": {"trio", "OpenSSL"},
    "drive": {"subprocess"},
    "run": {"OpenSSL"},
    "relay": {"trio", "subprocess"},
    "distributed": {"trio", "gevent", "locust"},
    "distributed.master": {"trio", "OpenSSL"},
    "distributed.node": {"gevent", "locust"},
}
# What is loaded with a room, through whatever it imports, is free of these. Imports inside of functions do not count:
# `prepare.keys` asks OpenSSL about files that a scenario names, and only then.
FREE = {
    "prepare": {"trio", "OpenSSL"},
    "results": {"trio", "OpenSSL"},
    "session": {"trio", "OpenSSL"},
    "world": {"trio", "OpenSSL"},
    "distributed": {"trio", "OpenSSL", "gevent", "locust"},
    "distributed.master": {"trio", "OpenSSL"},
    "distributed.node": {"gevent", "locust"},
}
# The clock that is given in.
CLOCKS = {"loadgen.clock"}
# Of what drives links, all but the CPU time of a load is told the time by the clock of its equipment.
DRIVING_CLOCKS = {"loadgen.drive.cpu_cost"}
# They alone know the insides of others' packages, each of its own.
INSIDES = {"loadgen.transport.openssl": {"OpenSSL", "cryptography"}, "loadgen.transport.trio_dtls": {"trio"}}
# It writes by `click.echo` whatever commands print, whoever called them.
CLICK = {"loadgen.commands.output"}
MAX_LINES = 500
# In these rooms, tests turn what they test from outside: by public hooks, in virtual time.
TURNED = ("drive", "dtls", "session", "world", "run", "capacity", "commands", "benchmarks")


def room_of(module: str) -> str:
    """The room of a dotted name: "loadgen.nmsp.codec" is in nmsp, "loadgen.errors" at the base."""
    parts = module.split(".")
    assert parts[0] == "loadgen"
    if len(parts) == 1 or parts[1] in BASE:
        return "base"
    if parts[1] == "distributed" and len(parts) > 2 and (PACKAGE / "distributed" / parts[2]).is_dir():
        return ".".join(parts[1:3])
    return "cli" if parts[1] == "__main__" else parts[1]


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"), str(path))


@cache
def imports(path: Path) -> tuple[tuple[int, str], ...]:
    """Every import of a module, also those inside functions: (line, dotted name)."""
    return tuple(imports_in(ast.walk(tree_of(path)), path))


def imports_in(nodes: Iterator[ast.AST], path: Path) -> Iterator[tuple[int, str]]:
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import"
            assert node.module is not None
            # `from loadgen.results import thresholds` imports a module, `from time import time` a function.
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def run_at_once(node: ast.AST) -> Iterator[ast.AST]:
    """What runs when a module is imported: neither bodies of functions nor what is for type checkers."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(child, ast.If) and isinstance(child.test, ast.Name) and child.test.id == "TYPE_CHECKING":
            continue
        yield child
        yield from run_at_once(child)


def module_at(name: str) -> Path | None:
    """The file of ours that a dotted name is in; None: it is somebody else's."""
    parts = name.split(".")
    if parts[0] != "loadgen":
        return None
    for path in (ROOT.joinpath(*parts), ROOT.joinpath(*parts[:-1])):
        if (found := path.with_suffix(".py")).is_file() or (found := path / "__init__.py").is_file():
            return found
    return None


@cache
def loaded_at_once(path: Path) -> frozenset[str]:
    """Names that importing a module imports itself."""
    return frozenset(name for _, name in imports_in(run_at_once(tree_of(path)), path))


def loaded_with(path: Path) -> dict[str, str]:
    """Packages of others that are loaded with a module, each with the module of ours that imports it."""
    found: dict[str, str] = {}
    seen, left = {path}, [path]
    while left:
        at = left.pop()
        for name in loaded_at_once(at):
            if (ours := module_at(name)) is None:
                found.setdefault(name.split(".")[0], name_of(at))
            elif ours not in seen:
                seen.add(ours)
                left.append(ours)
    return found


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


def of(path: Path, packages: Collection[str]) -> list[str]:
    """Where a module imports any of these packages."""
    return places(((line, name) for line, name in imports(path) if name.split(".")[0] in packages), path)


def reaches_into(path: Path) -> Iterator[tuple[int, str]]:
    """Names with an underscore that a test reads, calls, replaces or imports, and that are not its own."""
    tree = tree_of(path)
    nodes = list(ast.walk(tree))
    made = {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    made |= {node.attr for node in nodes if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)}
    made |= {node.target.id for node in nodes if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)}
    for node in nodes:
        if isinstance(node, ast.Attribute) and is_private(node.attr):
            mine = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls") and node.attr in made
            if not mine:
                yield node.lineno, node.attr
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.lineno, alias.name) for alias in node.names if is_private(alias.name))
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute):
            called = node.func.id if isinstance(node.func, ast.Name) else node.func.attr
            words = [word.value for word in node.args if isinstance(word, ast.Constant) and isinstance(word.value, str)]
            if called in ("getattr", "setattr", "delattr"):
                yield from ((node.lineno, word) for word in words[:2] if is_private(word.rpartition(".")[2]))


def is_private(name: str) -> bool:
    """One underscore: the language's own names have two, and those of named tuples are no fields because of it."""
    return name.startswith("_") and not name.startswith("__") and name not in dir(NamedTuple("Any", []))


def in_rooms(rooms: Collection[str]) -> list[Path]:
    return [path for path in MODULES if room_of(name_of(path)) in rooms]


# -- the order of rooms ------------------------------------------------------------------------------------------------


def test_every_room_has_modules_and_every_module_a_room() -> None:
    assert {room_of(name_of(path)) for path in MODULES} == set(ROOMS)
    assert {*NARROW, *APART, *NEVER, *FREE, *SANS_IO} <= set(ROOMS)
    assert {*CLOCKS, *CLICK, *INSIDES} <= {name_of(path) for path in MODULES}


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_go_down_only(path: Path) -> None:
    room = room_of(name_of(path))
    allowed = NARROW.get(room, set(ROOMS[: ROOMS.index(room) + 1]) - {APART.get(room)})
    ours = ((line, name) for line, name in imports(path) if name.split(".")[0] == "loadgen")
    wrong = ((line, name) for line, name in ours if room_of(name) not in allowed)
    assert places(wrong, path) == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    """Not even by way of functions."""
    after = {path: {module_at(name) for _, name in imports(path)} - {None, path} for path in MODULES}
    while free := [path for path, others in after.items() if not others & after.keys()]:
        for path in free:
            del after[path]
    assert {name_of(path) for path in after} == set()


# -- who knows what ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", in_rooms(SANS_IO), ids=name_of)
def test_what_thinks_does_no_input_or_output(path: Path) -> None:
    wrong = of(path, {"trio", "socket", "select", "selectors", "asyncio", "ssl", "threading", "OpenSSL", "subprocess"})
    clock = of(path, {"time"})
    today = [(line, f"datetime.{name}") for line, name in calls_on(path, "datetime") if name in ("now", "utcnow")]
    assert wrong + places(iter(today), path) == []
    assert bool(clock) == (name_of(path) in CLOCKS), clock


@pytest.mark.parametrize("path", in_rooms({"drive"}), ids=name_of)
def test_what_drives_links_is_told_the_time(path: Path) -> None:
    assert bool(of(path, {"time"})) == (name_of(path) in DRIVING_CLOCKS)


@pytest.mark.parametrize("path", in_rooms(NEVER), ids=name_of)
def test_a_room_never_imports_what_is_not_for_it(path: Path) -> None:
    assert of(path, NEVER[room_of(name_of(path))]) == []


@pytest.mark.parametrize("path", in_rooms(FREE), ids=name_of)
def test_a_room_does_not_load_what_is_not_for_it(path: Path) -> None:
    found = loaded_with(path)
    assert {name: found[name] for name in FREE[room_of(name_of(path))] & found.keys()} == {}


def test_importing_a_room_loads_no_more_than_its_source_says() -> None:
    """The reading of sources above, against Python's own: everything of the rooms that are read without trio."""
    names = [name_of(path).removesuffix(".__init__") for path in in_rooms({"prepare", "results", "session", "world"})]
    code = f"import sys, {', '.join(names)}; print(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert not {"trio", "OpenSSL", "gevent", "locust", "click"} & set(done.stdout.split())


def test_the_transport_knows_nothing_of_the_protocol() -> None:
    for path in in_rooms({"transport"}):
        names = {node.id for node in ast.walk(tree_of(path)) if isinstance(node, ast.Name)}
        assert not {name for name in names if "nmsp" in name.lower() or name in ("Kind", "Session", "Codec")}


def test_click_is_for_the_command_line_alone() -> None:
    users = {name_of(path) for path in MODULES if of(path, {"click"})}
    assert {name for name in users if room_of(name) != "cli"} == CLICK


@pytest.mark.parametrize("name", ["__init__", "runner", "searcher", "saved"])
def test_the_python_api_comes_without_what_prints(name: str) -> None:
    assert "click" not in loaded_with(PACKAGE / "commands" / f"{name}.py")


def test_one_module_knows_the_histogram_library() -> None:
    users = {name_of(path) for path in MODULES for _, name in imports(path) if name.split(".")[0] == "hdrh"}
    assert users == {"loadgen.measure.histogram"}


def test_others_insides_are_known_to_one_module_each() -> None:
    """What they import of them; ruff sees to private attributes, see the next one."""
    found = {name_of(path): others_insides(path) for path in MODULES}
    assert {name: packages for name, packages in found.items() if packages} == INSIDES


def test_ruff_lets_just_these_modules_read_private_attributes() -> None:
    ruff = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["ruff"]["lint"]
    assert "SLF" in ruff["select"]
    let = {path for path, rules in ruff["per-file-ignores"].items() if {"SLF", "SLF001"} & {*rules}}
    assert let == {"tests/*", *(f"{name.replace('.', '/')}.py" for name in INSIDES)}
    assert [name_of(path) for path in MODULES if "noqa: SLF" in path.read_text("utf-8")] == []


def others_insides(path: Path) -> set[str]:
    """Packages of which a module imports what begins with an underscore."""
    names = [name.split(".") for _, name in imports(path) if not name.startswith("__future__.")]
    return {name[0] for name in names if name[0] != "loadgen" and any(part.startswith("_") for part in name)}


def test_the_wall_clock_is_read_at_four_places() -> None:
    """Everything else is monotonic, and becomes wall-clock time by an anchor, in a run and in a recording; a Locust
    master has other machines', and the kernel dates packets by it.
    """
    wall = {"time", "time_ns", "localtime", "gmtime", "ctime"}
    found = [(name_of(path), what) for path in MODULES for _, what in calls_on(path, "time") if what in wall]
    places = (
        *("loadgen.distributed.master.leader", "loadgen.relay.recording"),
        *("loadgen.run.supervisor", "loadgen.transport.waiting"),
    )
    assert found == [(place, "time_ns") for place in places]


def test_no_test_gives_a_module_another_time() -> None:
    """What is to be told the time is given a clock."""
    tests = [path for path in (ROOT / "tests").rglob("*.py") if "node_modules" not in path.parts]
    assert len(tests) > 100
    replaced = re.compile(r"""setattr\(\s*[\w.]+,\s*["']time["']""")
    assert [path.name for path in tests if replaced.search(path.read_text("utf-8"))] == []


@pytest.mark.parametrize(
    "path", [path for room in TURNED for path in (ROOT / "tests" / room).glob("*.py")], ids=name_of
)
def test_what_has_time_is_turned_from_outside(path: Path) -> None:
    """And not by what it keeps to itself."""
    assert places(reaches_into(path), path) == []


def test_what_a_test_reaches_into_is_found(tmp_path: Path) -> None:
    path = tmp_path / "bad.py"
    path.write_text(
        "from loadgen.drive.tls import _MIN, Shard\nfrom loadgen import drive\n\n\nclass Mine(Shard):\n"
        "    _made = 1\n    def _own(self):\n        self._kept = self._made_by_shard\n"
        "        return super()._own(), self._kept, self.__dict__\n\n\ndef test(shard, monkeypatch, row):\n"
        "    shard._go_on(0)\n    shard._rows[0] = row._replace(a=1)\n    monkeypatch.setattr(shard, '_send', None)\n"
        "    monkeypatch.setattr('loadgen.drive._MOST', 1)\n    getattr(shard, 'turn')\n",
        "utf-8",
    )
    assert sorted(reaches_into(path)) == [
        *((1, "_MIN"), (8, "_made_by_shard"), (9, "_own"), (13, "_go_on"), (14, "_rows"), (15, "_send")),
        (16, "loadgen.drive._MOST"),
    ]


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_no_module_is_too_long(path: Path) -> None:
    assert len(path.read_text("utf-8").splitlines()) <= MAX_LINES


@pytest.mark.parametrize("module", ["loadgen", "loadgen.cli.main", "loadgen.commands"])
def test_starting_the_command_loads_nothing_heavy(module: str) -> None:
    """trio and gevent cannot share a process, so importing us must bring neither."""
    code = f"import sys, {module}; print(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    loaded = set(done.stdout.split())
    assert "loadgen" in loaded
    assert not loaded & {"trio", "gevent", "locust", "OpenSSL", "numpy", "hdrh"}


def test_a_run_begins_without_what_only_its_end_needs() -> None:
    """Pages, tables, what to try next, traces: that is loaded by whoever needs it, when it does."""
    code = "import sys, loadgen.commands.showing_run; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    loaded = set(done.stdout.split())
    assert "loadgen.run.supervisor" in loaded
    packages = {name.partition(".")[0] for name in loaded}
    assert not packages & {"rich", "jinja2", "markupsafe"}
    rooms = {name.split(".")[1] for name in loaded if name.startswith("loadgen.")}
    assert not rooms & {"diagnosis", "capacity", "compare"}
    assert "loadgen.commands.advice" not in loaded


def test_the_first_words_of_this_test_would_catch_an_import(tmp_path: Path) -> None:
    """The readers above, on a module that breaks every wall."""
    path = tmp_path / "bad.py"
    path.write_text(
        "from time import monotonic_ns\nimport time as t\n\ndef f():\n    import trio.lowlevel\n    return t.time()\n",
        "utf-8",
    )
    assert sorted(imports(path)) == [(1, "time.monotonic_ns"), (2, "time"), (5, "trio.lowlevel")]
    assert sorted(calls_on(path, "time")) == [(1, "monotonic_ns"), (6, "time")]
    assert loaded_at_once(path) == {"time.monotonic_ns", "time"}


def test_what_is_loaded_by_way_of_others_is_found() -> None:
    assert loaded_with(PACKAGE / "run" / "worker.py")["OpenSSL"].startswith("loadgen.")
    assert loaded_with(PACKAGE / "distributed" / "master" / "master.py")["locust"].startswith("loadgen.")
    assert loaded_with(PACKAGE / "distributed" / "node" / "node.py")["trio"].startswith("loadgen.")
    assert "trio" not in loaded_with(PACKAGE / "cli" / "main.py")  # inside of its functions only


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
