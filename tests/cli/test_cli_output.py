"""Where what was asked for cannot be printed, that is an error."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

import pytest

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
