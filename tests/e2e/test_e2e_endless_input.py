"""Every file that a command reads may be one that never ends: refused at once, with little memory."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from e2e_loadgen import PATIENCE_S, QUICK

# Far above what all commands' libraries take, and far below what an endless file or a million endpoints would.
_MEMORY_BYTES = 2 << 30
# Each is a command that reads /dev/zero as one of its files. One process tries them all, so that libraries are
# loaded once; each must end as bad input, and say which file.
COMMANDS = {
    "scenario": ["run", "/dev/zero"],
    "profile of a scenario": ["run", str(QUICK), "--set", "profile=/dev/zero"],
    "profile": ["profile", "show", "/dev/zero"],
    "identity": ["run", str(QUICK), "--set", "mse.count=1", "--set", "mse.identities=['/dev/zero']"],
    "auth list": ["run", str(QUICK), "--set", "wlc.auth_list=/dev/zero"],
    "one of several auth lists": ["run", str(QUICK), "--set", "wlc.aaa.lists=[{auth_list='/dev/zero'}]"],
    "whom WLCs trust": ["run", str(QUICK), "--set", "wlc.trust=/dev/zero"],
    "whom MSEs trust": ["run", str(QUICK), "--set", "tls.trust=/dev/zero"],
    "plan": ["plan", "/dev/zero"],
    "plan with an auth list": ["plan", str(QUICK), "--set", "wlc.auth_list=/dev/zero"],
    "capacity": ["capacity", "/dev/zero"],
    "ab": ["ab", "/dev/zero", "--a", "wlc=127.0.0.1:1", "--b", "wlc=127.0.0.1:1"],
    "result": ["report", "/dev/zero"],
    "result to export": ["export", "/dev/zero", "--format", "csv"],
    "results to compare": ["compare", "/dev/zero", "--", "/dev/zero"],
    "identity to show": ["identity", "show", "/dev/zero"],
    "identity of a check": ["check", "wlc", "127.0.0.1:1", "--identity", "/dev/zero"],
    "profile of a check": ["check", "mse", "--listen", "127.0.0.1:0", "--unauthenticated", "--profile", "/dev/zero"],
    "auth list of a check": ["check", "mse", "--listen", "127.0.0.1:0", "--auth-list", "/dev/zero"],
}
_TRY_ALL = """
import json, sys
from loadgen.cli.main import cli
from loadgen.errors import InputError
found = {}
for name, words in json.loads(sys.argv[1]).items():
    try:
        found[name] = f"ended with {cli.main(words, standalone_mode=False)}"
    except InputError as error:
        found[name] = [str(problem) for problem in error.problems]
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def said() -> dict[str, list[str]]:
    """What each of them said."""
    done = subprocess.run(
        [sys.executable, "-c", _TRY_ALL, json.dumps(COMMANDS)],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES)),
    )
    assert done.returncode == 0, done.stderr
    value: dict[str, list[str]] = json.loads(done.stdout.splitlines()[-1])
    return value


@pytest.mark.parametrize("name", COMMANDS)
def test_a_file_without_an_end_is_refused(said: dict[str, list[str]], name: str) -> None:
    (problem,) = said[name]
    assert problem.startswith("/dev/zero: expected "), problem
    assert problem.endswith(" bytes, found a longer file"), problem


@pytest.mark.parametrize("key", ["mse.count", "wlc.count"])
def test_a_million_endpoints_are_refused_before_they_are_made(tmp_path: Path, key: str) -> None:
    small = tmp_path / "small.toml"
    small.write_text('name = "s"\nmse.assign = "round-robin"\nload.rate = 1\n', "utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "loadgen", "plan", str(small), "--set", f"{key}=1000000"],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES)),
    )
    assert done.returncode == 2, done.stderr
    assert f"{key}: expected int <= 250000, found 1000000" in done.stderr
