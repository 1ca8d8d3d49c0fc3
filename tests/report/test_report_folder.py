"""What a folder does not take costs one file, and is told."""

from __future__ import annotations

import errno
import os
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from loadgen.errors import InputError
from loadgen.report.folder import ResultFolder


@pytest.fixture
def folder(tmp_path: Path) -> ResultFolder:
    made = ResultFolder(tmp_path, datetime(2026, 11, 29, tzinfo=UTC), "s", "d")
    made.create()
    return made


def names(folder: ResultFolder) -> set[str]:
    return {path.name for path in folder.path.iterdir()}


def test_a_file_is_replaced_whole_or_not_at_all(folder: ResultFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.write("result.json", "first")
    seen: list[str] = []
    whole = Path.write_text

    def half(path: Path, text: str, encoding: str) -> int:
        whole(path, text[: len(text) // 2], encoding)
        seen.append((folder.path / "result.json").read_text("utf-8"))
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_text", half)
    folder.write("result.json", "second")
    monkeypatch.undo()
    assert seen == ["first"]
    assert (folder.path / "result.json").read_text("utf-8") == "first"
    assert names(folder) == {"result.json"}
    assert folder.troubles == [
        f"{folder.path}/result.json: expected a file that can be written, found no space left on device"
    ]
    folder.write("result.json", "third")
    assert folder.troubles == []
    assert (folder.path / "result.json").read_text("utf-8") == "third"


def test_one_file_that_cannot_be_written_costs_no_other(folder: ResultFolder) -> None:
    (folder.path / "result.json").mkdir()
    log = folder.log("histograms.hlog", 1.0)
    folder.write("result.json", "{}")
    folder.write("report.html", "page")
    log.append([])
    folder.close()
    assert names(folder) == {"result.json", "report.html", "histograms.hlog"}
    (trouble,) = folder.troubles
    assert "result.json: expected a file that can be written, found is a directory" in trouble


def test_a_folder_that_has_gone(folder: ResultFolder) -> None:
    folder.log("histograms.hlog", 1.0)
    shutil.rmtree(folder.path)
    folder.write("result.json", "{}")
    folder.close()
    folder.write("report.html", "page")
    assert [trouble.partition(": ")[0].rpartition("/")[2] for trouble in folder.troubles] == [
        "result.json",
        "histograms.hlog",
        "report.html",
    ]
    assert all("no such file or directory" in trouble for trouble in folder.troubles)
    assert not folder.path.exists()


def test_before_the_run_a_folder_that_takes_nothing_is_refused(folder: ResultFolder) -> None:
    folder.check()
    (folder.path / "plan.json").mkdir()
    folder.write("plan.json", "{}")
    with pytest.raises(InputError, match=r"plan\.json: expected a file that can be written, found is a directory"):
        folder.check()


def test_what_cannot_be_made_in_the_midst_of_a_run_is_told_unless_it_can_later_on(folder: ResultFolder) -> None:
    def fails() -> str:
        raise ZeroDivisionError("float division by zero")

    folder.write_made("result.json", fails)
    assert "ZeroDivisionError" in " ".join(map(str, folder.troubles))
    folder.write_made("result.json", lambda: "{}")
    assert folder.troubles == []
    assert (folder.path / "result.json").read_text("utf-8") == "{}"
