"""Where what was asked for cannot be printed, that is an error."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

import click
import pytest
from click.testing import CliRunner

from loadgen.cli.main import cli
from loadgen.cli.output import display, say
from loadgen.errors import ExitCode, OutputError


@pytest.mark.parametrize("tell", [lambda: say("found"), lambda: display("found")], ids=["say", "display"])
def test_a_stdout_that_is_closed_is_told(tell: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """As `>&-` leaves it. Whatever has its descriptor now keeps it."""
    before = os.fstat(1)
    monkeypatch.setattr(sys, "stdout", None)
    with pytest.raises(OutputError, match="stdout: expected to print what was found, found it closed") as told:
        tell()
    assert told.value.exit_code == ExitCode.NOT_WRITTEN
    assert os.path.samestat(os.fstat(1), before)


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
