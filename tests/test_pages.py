"""Pages for people against what they speak of: files and classes that they name are there, and no key is left out."""

from __future__ import annotations

import ast
import re
from functools import cache
from itertools import chain
from pathlib import Path

import pytest

from loadgen.scenario.json_schema import scenario_schema

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "loadgen"
PAGES = sorted({*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")})
TOPS = sorted({path.name for path in chain(ROOT.iterdir(), PACKAGE.iterdir()) if path.is_dir() and path.name[0] != "."})
NAMED = re.compile(rf"`((?:{'|'.join(TOPS)})/[\w./*-]+)`")
# Folders that a command of ours makes.
MADE = {"results/fuzz/", "results/benchmarks/"}
# What somebody who adds one names as they like.
PLACEHOLDERS = {"NAME", "TARGET"}


@cache
def classes() -> dict[str, list[ast.ClassDef]]:
    found: dict[str, list[ast.ClassDef]] = {}
    for path in PACKAGE.rglob("*.py"):
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, ast.ClassDef):
                found.setdefault(node.name, []).append(node)
    return found


def has_member(name: str) -> bool:
    """Whether a class has a method of that name: "Shard._read_failed"."""
    kind, _, member = name.partition(".")
    return any(getattr(node, "name", "") == member for each in classes().get(kind, []) for node in each.body)


def is_there(name: str) -> bool:
    """Whether there is such a file or folder, from the root or from `loadgen/` on, or a class in such a module."""
    module, _, kind = name.rpartition(".")
    for base in (ROOT, PACKAGE, ROOT / "docs"):
        if any(base.glob(name)) or any(base.glob(f"{name}.py")):
            return True
        path = base / f"{module}.py"
        if module and path.is_file() and re.search(rf"\n(class|def|async def) {kind}\b", path.read_text("utf-8")):
            return True
    return False


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_files_that_a_page_names_are_there(page: Path) -> None:
    named = {name for name in NAMED.findall(page.read_text("utf-8")) if not any(word in name for word in PLACEHOLDERS)}
    assert sorted(name for name in named - MADE if not is_there(name)) == []


def test_members_of_classes_that_architecture_names_are_there() -> None:
    named = re.findall(r"`([A-Z]\w+\.[a-z_]\w*)`", (ROOT / "docs" / "architecture.md").read_text("utf-8"))
    assert named
    assert [name for name in named if not has_member(name)] == []


def test_every_key_of_a_scenario_is_documented() -> None:
    """Those of the tables, and of the tables in them."""
    text = "".join((ROOT / "docs" / name).read_text("utf-8") for name in ("scenario.md", "metrics.md"))  # thresholds
    spans = {word for span in re.findall(r"`([^`]+)`", text) for word in re.findall(r"\w+", span)}
    keys = set()
    left: list[object] = [scenario_schema()]
    while left:
        match left.pop():
            case dict() as node:
                keys |= set(node.get("properties", {}))
                left.extend(node.values())
            case list() as nodes:
                left.extend(nodes)
    assert {"max_retransmits", "listen", "walk_m_per_s"} <= keys
    assert sorted(keys - spans) == []


def test_every_folder_of_tests_is_told_of() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8").partition("\n## The tests\n")[2].partition("\n## ")[0]
    named = [name.replace("*", r"\w*") for name in re.findall(r"`([\w*]+)`", text)]
    folders = [path.name for path in (ROOT / "tests").iterdir() if path.is_dir() and any(path.glob("*.*"))]
    assert [name for name in folders if name[0] != "_" and not re.fullmatch("|".join(named), name)] == []


def test_the_readers_above_find_what_is_not_there() -> None:
    assert is_there("nmsp/ring.NotifyRing")
    assert is_there("drive/tls*")
    assert not is_there("nmsp/ring.NotifyRang")
    assert not is_there("endpoint/wlc")
    assert NAMED.findall("in `nmsp/hot.py`, `./x` and `tests/nmsp`") == ["nmsp/hot.py", "tests/nmsp"]
    assert has_member("Shard._read_failed")
    assert not has_member("Shard.read_failed")
