"""What `loadgen status` says of runs that it cannot choose among."""

from __future__ import annotations

from pathlib import Path

import pytest

from loadgen.commands import inquiry
from loadgen.commands.inquiry import Inquiry, inquire
from loadgen.errors import InputError
from loadgen.status.answer import RunInfo
from loadgen.status.asking import FoundRun


def going_on(pid: int, name: str) -> FoundRun:
    return FoundRun(f"{pid}.sock", RunInfo(pid, name, "digest", "both", "notify", "load", "hold", 1.0, 9.0))


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("long", 'RUN: expected a process id, one of 11 (long), 33 (long), found "long", the name of several'),
        ("nobody", 'RUN: expected one of 11 (long), 22 (other), 33 (long), 44, found "nobody"'),
    ],
)
def test_runs_to_choose_among_are_named_in_one_line(name: str, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = [going_on(11, "long"), going_on(22, "other"), going_on(33, "long"), FoundRun("44.sock", None)]
    monkeypatch.setattr(inquiry, "runs", lambda where: found)
    monkeypatch.setattr(inquiry, "directory", lambda: Path("doors"))
    with pytest.raises(InputError) as caught:
        inquire(Inquiry(name, None, None, None, listing=False))
    assert [str(problem) for problem in caught.value.problems] == [told]
