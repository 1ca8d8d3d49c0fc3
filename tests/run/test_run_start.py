"""What happens on the way to a run's first session, in all of its processes: no import that it has no use for, and no
process but its own.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]
# What is heard goes into a file, in the order of all processes: they are forked from this one.
_HEARD = """
import os, sys
log = os.open(sys.argv.pop(1), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
class Imports:
    @staticmethod
    def find_spec(name, path=None, target=None):
        os.write(log, f"import {name}\\n".encode())
sys.meta_path.insert(0, Imports)
def hear(event, args):
    if event == "subprocess.Popen":
        os.write(log, f"{event} {args[0]}\\n".encode())
    elif event in ("socket.connect", "os.posix_spawn", "os.system"):
        os.write(log, f"{event} -\\n".encode())
sys.addaudithook(hear)
from loadgen.cli.main import main
main()
"""
_PACKAGES = {
    *("attr", "attrs", "click", "cryptography", "fastcrc", "hdrh", "idna", "loadgen", "msgspec", "numpy", "OpenSSL"),
    *("outcome", "pyhdrh", "sniffio", "sortedcontainers", "trio", "typing_extensions"),
    *("bcrypt", "org"),  # looked for by cryptography and by pickle
}
_OTHERS_USE = ("capacity", "capture", "compare", "diagnosis", "distributed", "infer", "relay")


@pytest.fixture(scope="module")
def heard(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, str]]:
    """Events until the first session is dialed, and what they are about."""
    folder = tmp_path_factory.mktemp("start")
    command = [sys.executable, "-c", _HEARD, str(folder / "heard"), "run", "scenarios/quick.toml"]
    options = ["--duration", "100ms", "--results", str(folder)]
    done = subprocess.run([*command, *options], cwd=_ROOT, capture_output=True, text=True, timeout=120, check=False)
    lines = (folder / "heard").read_text("utf-8").splitlines()
    events = [(event, about) for event, _, about in (line.partition(" ") for line in lines)]
    assert ("socket.connect", "-") in events, done.stderr
    return events[: events.index(("socket.connect", "-"))]


def _imported(heard: list[tuple[str, str]]) -> set[str]:
    return {about for event, about in heard if event == "import"}


def test_no_package_is_imported_that_a_run_has_no_use_for(heard: list[tuple[str, str]]) -> None:
    found = {name.partition(".")[0] for name in _imported(heard)} - sys.stdlib_module_names
    assert {"trio", "numpy", "OpenSSL"} <= found
    assert {name for name in found - _PACKAGES if not name.startswith("_")} == set()
    assert "numpy.ma" not in _imported(heard)
    assert "importlib.metadata" not in {
        about for event, about in heard[: heard.index(("subprocess.Popen", sys.executable))] if event == "import"
    }


def test_none_of_our_modules_is_that_other_runs_and_commands_need(heard: list[tuple[str, str]]) -> None:
    ours = {name for name in _imported(heard) if name.startswith("loadgen.")}
    assert {"loadgen.drive.tls_wlc", "loadgen.drive.tls_mse", "loadgen.run.supervisor"} <= ours
    rooms = {name.split(".")[1] for name in ours}
    assert rooms & {*_OTHERS_USE} == set()
    commands = {name for name in ours if name.startswith("loadgen.cli.")}
    assert commands == {"loadgen.cli.main", "loadgen.cli.run", "loadgen.cli.arguments"}
    leaves = {name.rpartition(".")[2] for name in ours}
    assert {name for name in leaves if "dtls" in name or "site" in name.split("_")} == {"site", "site_plan"}
    assert leaves & {"tls_handshakes", "tls_replay", "html", "terminal", "recorded", "device_reader"} == set()


def test_no_process_is_started_but_the_keeper_of_workers(heard: list[tuple[str, str]]) -> None:
    """No ldconfig, no compiler: `ctypes.util.find_library` would ask them for the library of threads."""
    started = [(event, about) for event, about in heard if event != "import"]
    assert started == [("subprocess.Popen", sys.executable)]
