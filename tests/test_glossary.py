"""docs/glossary.md against the code: what a word is in the code is there, and so is what comments name."""

from __future__ import annotations

import ast
import re
from functools import cache
from itertools import chain, pairwise
from pathlib import Path
from typing import get_type_hints

import msgspec
import pytest

from loadgen.measure.names import COSTS, COUNTERS, METRICS, RATES
from loadgen.scenario.schema import Scenario

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "loadgen"
PAGE = (ROOT / "docs" / "glossary.md").read_text("utf-8")
ROOMS = sorted(path.parent for path in PACKAGE.rglob("__init__.py") if path.parent != PACKAGE)
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path.stem != "_declared")  # made at install
# Figures of a result and keys of a scenario look like modules and what is in them.
FIGURES = {*METRICS, *COUNTERS, *RATES, *COSTS}
TABLES = {name: kind for name, kind in get_type_hints(Scenario).items() if isinstance(kind, type)}
# `loadgen.nmsp.codec`, `session.ledger.Ledger`, but not `share.members`, which is an attribute of a variable.
NAMED = re.compile(rf"`((?:loadgen\.)?(?:{'|'.join(path.name for path in ROOMS)})(?:\.\w+)+)`")


def tables() -> list[list[tuple[str, str, str]]]:
    """The page's tables, each as rows of words, meaning and place."""
    found: list[list[tuple[str, str, str]]] = []
    for line in PAGE.splitlines():
        if line == "| --- | --- | --- |":
            found.append([])
        elif found and line.startswith("| ") and not line.startswith("| word |"):
            word, meaning, place = (cell.strip() for cell in line.strip("|").split("|"))
            found[-1].append((word, meaning, place.strip("`")))
    return found


ROWS = list(chain(*tables()))


@cache
def defined_in(path: Path) -> frozenset[str]:
    """Names at the top of a module."""
    names = set()
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return frozenset(names)


def is_there(name: str) -> bool:
    """Whether a dotted name, with or without "loadgen." in front, is a room, a module, or something at its top."""
    parts = name.removeprefix("loadgen.").split(".")
    path = PACKAGE.joinpath(*parts)
    if path.is_dir() or path.with_suffix(".py").is_file():
        return True
    module = path.parent.with_suffix(".py")
    return module.is_file() and parts[-1] in defined_in(module)


def is_a_figure_or_a_key(name: str) -> bool:
    table, _, key = name.partition(".")
    fields = getattr(TABLES.get(table), "__struct_fields__", ())
    return name in FIGURES or key in fields


@pytest.mark.parametrize("place", sorted({place for _, _, place in ROWS}))
def test_what_a_word_is_in_the_code_is_there(place: str) -> None:
    assert is_there(place)


def test_a_word_has_one_meaning() -> None:
    words = [word for words, _, _ in ROWS for word in words.lower().split(", ")]
    assert len(words) > 80
    assert sorted(words) == sorted(set(words))


def test_a_class_name_means_one_thing() -> None:
    found: dict[str, int] = {}
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ClassDef):
                found[node.name] = found.get(node.name, 0) + 1
    assert [name for name, times in found.items() if times > 1] == []


def test_a_word_is_found_by_its_first_letter() -> None:
    for rows in tables():
        words = [word.lower() for word, _, _ in rows]
        assert [pair for pair in pairwise(words) if pair[0] > pair[1]] == []


@pytest.mark.parametrize("page", ["README.md", "docs/architecture.md"])
def test_the_words_are_found_from_where_people_begin(page: str) -> None:
    assert "glossary.md)" in (ROOT / page).read_text("utf-8")


def test_what_comments_name_is_there() -> None:
    named = {(path, name) for path in MODULES for name in NAMED.findall(path.read_text("utf-8"))}
    assert len(named) > 8
    missing = [(path.name, name) for path, name in named if not is_there(name) and not is_a_figure_or_a_key(name)]
    assert missing == []


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: ".".join(room.relative_to(PACKAGE).parts))
def test_a_room_tells_of_each_of_its_modules(room: Path) -> None:
    text = ast.get_docstring(ast.parse((room / "__init__.py").read_text("utf-8"))) or ""
    told = {name.split(".")[0] for name in re.findall(r"`([\w.]+)`", text)}
    modules = {path.stem for path in MODULES if path.parent == room} - {"__init__"}
    assert modules - told == set()


def test_the_readers_above_find_what_is_not_there() -> None:
    assert not is_there("nmsp.hot")
    assert not is_there("session.ledger.Lodger")
    assert is_there("loadgen.session.ledger.Ledger")
    assert NAMED.findall("by `nmsp.hot` and `share.members`") == ["nmsp.hot"]
    assert is_a_figure_or_a_key("session.echo_interval")
    assert not is_a_figure_or_a_key("session.hot")
    assert msgspec.structs.fields(TABLES["session"])
