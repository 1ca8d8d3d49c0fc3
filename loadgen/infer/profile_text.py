"""A wire profile's file: TOML, with what was guessed and what is not known as comments."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from loadgen.infer.to_profile import MadeProfile

__all__ = ["profile_text"]

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_WIDTH = 116
_TOP = ("name", "byte_order", "max_frame_bytes", "checksum")


def profile_text(made: MadeProfile, about: Sequence[str]) -> str:
    """Args: about: lines in front of it."""
    lines = [*_comments(about), ""]
    table = made.table
    lines += [f"{key} = {_value(table[key])}" for key in _TOP if key in table]
    if made.unsaid:
        lines += ["", "# What was found and a profile has no words for:"]
        lines += [line for each in made.unsaid for line in _comments([f"- {each}"])]
    notes = dict(made.notes)
    for place, why in made.guesses.items():
        notes[place] = f"a guess, {why}; {notes[place]}" if place in notes else f"a guess, {why}"
    for part in ("header", "trailer"):
        if part in table:
            lines += _table(part, table[part], notes)
    if not table.get("messages"):
        lines += ["", "[messages]"]
    for group in ("messages", "records", "opaque"):
        for name, each in table.get(group, {}).items():
            lines += _table(f"{group}.{_key(name)}", each, notes, ids=group != "records")
    if "dialogue" in table:
        lines += ["", "[dialogue]"]
        for key, value in table["dialogue"].items():
            lines += _rows(key, value, "", {}) if isinstance(value, list) else [f"{key} = {_value(value)}"]
    return "\n".join(lines) + "\n"


def _comments(texts: Sequence[str]) -> Iterator[str]:
    for text in texts:
        line = "#"
        for word in text.split():
            if len(line) + len(word) >= _WIDTH:
                yield line
                line = "#  "
            line += f" {word}"
        yield line


def _table(name: str, table: Mapping[str, Any], notes: Mapping[str, str], *, ids: bool = False) -> Iterator[str]:
    yield ""
    yield f"[{name}]"
    for key, value in table.items():
        if key == "fields":
            yield from _rows(key, value, name, notes)
        elif key == "id" and ids:
            yield f"id = {value:#06x}"
        elif key == "elements":
            yield from _elements(value, name, notes)
        else:
            yield f"{key} = {_value(value)}"


def _rows(key: str, rows: Sequence[Mapping[str, Any]], where: str, notes: Mapping[str, str]) -> Iterator[str]:
    if not rows:
        yield f"{key} = []"
        return
    yield f"{key} = ["
    for row in rows:
        text = f"  {_value(row)},"
        note = notes.get(f"{where}.{row.get('name', '')}")
        yield text if note is None else f"{text}  # {' '.join(note.split())}"
    yield "]"


def _elements(elements: Mapping[str, Any], where: str, notes: Mapping[str, str]) -> Iterator[str]:
    """An inline table has no line breaks but in its arrays."""
    head = ", ".join(f"{key} = {_value(value)}" for key, value in elements.items() if key != "fields")
    *rows, last = _rows("fields", elements["fields"], where, notes)
    if not rows:
        yield f"elements = {{ {head}, {last} }}"
        return
    yield f"elements = {{ {head}, {rows[0]}"
    yield from rows[1:]
    yield f"{last} }}"


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else msgspec.json.encode(name).decode()


def _value(value: Any) -> str:
    """As TOML; of JSON's texts, all are TOML's too."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return msgspec.json.encode(value).decode()
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_key(key)} = {_value(each)}" for key, each in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_value, value)) + "]"
    return str(value)
