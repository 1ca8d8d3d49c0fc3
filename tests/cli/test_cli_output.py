"""Where what was asked for cannot be printed, that is an error."""

from __future__ import annotations

import errno
import importlib
import io
import os
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import NoReturn

import click
import pytest
from click.testing import CliRunner

from loadgen.cli.main import cli
from loadgen.cli.main import main as command_line
from loadgen.commands import output
from loadgen.commands.output import announce, display, printed, say
from loadgen.errors import ExitCode

main = importlib.import_module("loadgen.cli.main")
TELLING = pytest.mark.parametrize(
    "tell",
    [lambda: say("found"), lambda: display("found"), lambda: announce("ready")],
    ids=["say", "display", "ready"],
)


@pytest.fixture(autouse=True)
def anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test is a process, as far as what it could print goes."""
    monkeypatch.setattr(output, "_unprinted", [])


@TELLING
def test_a_stdout_that_is_closed_is_told_once(
    tell: Callable[[], None], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As `>&-` leaves it. Whatever has its descriptor now keeps it."""
    before = os.fstat(1)
    monkeypatch.setattr(sys, "stdout", None)
    assert printed() == ExitCode.PASSED
    for _ in range(2):
        tell()
    assert capsys.readouterr().err == "loadgen: stdout: expected to print what was found, found it closed\n"
    assert printed() == ExitCode.NOT_WRITTEN
    assert os.path.samestat(os.fstat(1), before)


class Full(io.StringIO):
    """As /dev/full."""

    def write(self, text: str) -> NoReturn:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("code", [ExitCode.PASSED, ExitCode.THRESHOLD_FAILED, ExitCode.UNREACHABLE])
@TELLING
def test_what_could_not_be_printed_at_first_is_the_exit_code_of_whatever_went_well(
    tell: Callable[[], None], code: ExitCode, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And costs nothing of what the command does after it."""

    def command(**_: bool) -> int:
        tell()
        monkeypatch.setattr(sys, "stdout", io.StringIO())  # fd 1 leads nowhere from then on
        say("and went on")
        return int(code)

    monkeypatch.setattr(sys, "stdout", Full())
    monkeypatch.setattr(os, "dup2", lambda *_: None)  # fd 1 is the tests'
    monkeypatch.setattr(main, "cli", SimpleNamespace(main=command))
    monkeypatch.setattr(main, "signals", SimpleNamespace(interrupt=lambda: None, ignore=lambda: None))
    with pytest.raises(SystemExit) as ended:
        command_line()
    assert ended.value.code == (code or ExitCode.NOT_WRITTEN)
    assert capsys.readouterr().err.count("stdout: expected to print what was found, found no space left on device") == 1


def commands(of: click.Command, *path: str) -> list[tuple[str, ...]]:
    """All commands, and the groups that they are in."""
    if not isinstance(of, click.Group):
        return [path]
    return [path, *(each for name, command in of.commands.items() for each in commands(command, *path, name))]


@pytest.mark.parametrize("path", commands(cli), ids=" ".join)
def test_no_help_ends_in_the_midst_of_a_sentence_on_80_columns(path: tuple[str, ...]) -> None:
    shown = CliRunner().invoke(cli, [*path, "--help"], terminal_width=80, catch_exceptions=False).output
    listed = shown.partition("Commands:")[2]
    assert [line for line in listed.splitlines() if line.endswith("...")] == []
