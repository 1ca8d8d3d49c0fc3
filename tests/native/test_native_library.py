"""The library of the native turn: there, or the reason why not."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from loadgen.errors import ExitCode, InputError
from loadgen.native import library
from loadgen.native.library import SWITCH, load, native, sources, standing

FOLDER = Path(library.__file__).parent
# As it is built, and stricter.
STRICT = ["-std=c11", "-O2", "-ffp-contract=off", "-fno-math-errno", '-DLG_SOURCES="x"']
STRICT += ["-Wall", "-Wextra", "-Wconversion", "-Wno-sign-conversion", "-Werror"]
BUILT = load(FOLDER).library is not None
needs_it = pytest.mark.skipif(not BUILT, reason=load(FOLDER).words)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The room's files, to be spoilt."""
    return Path(shutil.copytree(FOLDER, tmp_path / "native"))


def cli(*arguments: str, switch: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "loadgen", *arguments], capture_output=True, text=True, env={SWITCH: switch}, check=False
    )


class TestWhetherItIsThere:
    def test_one_that_was_not_built(self, folder: Path) -> None:
        (folder / "_turn.so").unlink(missing_ok=True)
        assert load(folder).library is None
        assert "not built" in load(folder).words

    def test_one_of_another_make(self, folder: Path) -> None:
        (folder / "_turn.so").write_bytes(b"\x7fELF of no use")
        assert load(folder).library is None
        assert "cannot be loaded" in load(folder).words

    @needs_it
    def test_one_of_other_sources(self, folder: Path) -> None:
        assert load(folder).library is not None
        other = Path(shutil.copytree(folder, folder.parent / "other"))
        (other / "receive.c").write_text("/* another */\n", "utf-8")
        assert load(other).library is None
        assert "other sources" in load(other).words


class TestTheSwitch:
    def test_off(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(SWITCH, "0")
        assert native() is None
        assert standing() == f"python ({SWITCH}=0)"

    @needs_it
    @pytest.mark.parametrize("switch", ["1", ""])
    def test_on(self, switch: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(SWITCH, switch)
        assert native() is not None
        assert standing() == "native"

    def test_neither(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(SWITCH, "yes")
        with pytest.raises(InputError) as refused:
            native()
        assert [(each.expected, each.found) for each in refused.value.problems] == [("0 or 1", "yes")]

    def test_demanded_and_missing(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (folder / "_turn.so").unlink(missing_ok=True)
        monkeypatch.setenv(SWITCH, "1")
        with pytest.raises(InputError, match="not built"):
            native(folder)


class TestWhoTells:
    def test_the_version(self) -> None:
        assert cli("--version", switch="0").stdout.rstrip().endswith(f"python ({SWITCH}=0)")

    @pytest.mark.parametrize("switch", ["0", pytest.param("1", marks=needs_it)])
    def test_the_plan(self, switch: str) -> None:
        told = json.loads(cli("plan", "scenarios/quick.toml", "--json", switch=switch).stdout)["native"]
        assert told == (f"python ({SWITCH}=0)" if switch == "0" else "native")

    def test_a_wrong_switch_is_refused_before_anything(self) -> None:
        refused = cli("plan", "scenarios/quick.toml", switch="yes")
        assert refused.returncode == ExitCode.BAD_INPUT
        assert SWITCH in refused.stderr


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
def test_the_sources_are_clean(tmp_path: Path) -> None:
    """Nothing is linked but libc, no name but ours is there, and no compiler has anything to say."""
    made = tmp_path / "turn.so"
    files = [str(path) for path in sources(FOLDER) if path.suffix == ".c"]
    flags = [*STRICT, "-fPIC", "-shared", "-fvisibility=hidden", "-Wl,-z,defs"]
    built = subprocess.run(["cc", *flags, *files, "-o", str(made)], capture_output=True, text=True, check=False)
    assert (built.returncode, built.stderr) == (0, "")
    needed = subprocess.run(["readelf", "-d", str(made)], capture_output=True, text=True, check=True).stdout
    assert [line.split("[")[1].rstrip("]") for line in needed.splitlines() if "NEEDED" in line] == ["libc.so.6"]
    names = subprocess.run(["nm", "-D", "--defined-only", str(made)], capture_output=True, text=True, check=True).stdout
    assert all(line.split()[-1].startswith("lg_") for line in names.splitlines())
