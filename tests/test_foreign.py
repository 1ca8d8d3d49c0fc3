"""Text that a peer or a file chose reaches a terminal, a document or a log as something that only can be read."""

from __future__ import annotations

import json

import pytest
from rich.table import Table
from rich.text import Text

from loadgen.commands.output import complain, display, say
from loadgen.errors import InputError, Problem
from loadgen.foreign import plain, quoted, visible

# A line break, an escape sequence in either form, a mark that turns the direction of writing, half a character.
EVIL = "a\nb\x1b[31m\x9b2J\u202e\ud800"
HARMLESS = r"a\nb\u001b[31m\u009b2J\u202e\ud800"


def test_what_cannot_be_seen_is_written_out() -> None:
    assert plain(EVIL) == HARMLESS
    assert quoted(EVIL) == f"'{HARMLESS}'"
    assert quoted("") == "nothing"
    assert plain("Universität Köln, 証明書") == "Universität Köln, 証明書"
    assert plain("x" * 500).endswith("x…")
    assert len(plain("x" * 500)) == 200


def test_once_more_does_nothing() -> None:
    assert plain(plain(EVIL)) == plain(EVIL)


def test_json_stays_json_and_means_what_it_did() -> None:
    document = {"name": "tab\t, \x7f, \x9b, \u202e, \U000e0001"}
    shown = visible(json.dumps(document, ensure_ascii=False))
    assert shown.isprintable()
    assert json.loads(shown) == document


def test_every_problem_is_one_line() -> None:
    error = InputError([Problem(f"{EVIL}.pem", EVIL, EVIL), Problem("x", "y", "z")])
    lines = str(error).split("\n")
    assert len(lines) == 2
    assert all(line.isprintable() for line in lines)


def test_what_is_printed_obeys_nobody_but_us(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table("name")
    table.add_row(Text(EVIL.replace("\ud800", "")))
    say(f"one\t{EVIL}\r\ntwo")
    display(table)
    complain(EVIL)
    out, err = capsys.readouterr()
    for text in (out, err):
        assert "\x1b[31m" not in text
        assert "\x9b" not in text
        assert "\u202e" not in text
        assert r"\u001b[31m" in text
    assert out.startswith("one\ta\n")  # what is ours stays: lines, tabs, and how a line ends
    assert "\r\ntwo\n" in out
