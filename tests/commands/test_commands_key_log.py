"""`keylog` and SSLKEYLOGFILE of runs and searches: which lines, in which file, whose to read, and who says so."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from loadgen.commands import capacity, run
from loadgen.errors import InputError
from loadgen.report import html, markdown, terminal
from loadgen.results.result import RunResult
from loadgen.transport.key_log import KeyLog

# By TLS: the labels of a tunnel, as the NSS format has them, and how long the secrets are (SHA-256 or SHA-384).
LABELS = {
    "1.2": {"CLIENT_RANDOM"},
    "1.3": {
        *("CLIENT_HANDSHAKE_TRAFFIC_SECRET", "SERVER_HANDSHAKE_TRAFFIC_SECRET"),
        *("CLIENT_TRAFFIC_SECRET_0", "SERVER_TRAFFIC_SECRET_0", "EXPORTER_SECRET"),
    },
}
LINE = re.compile(r"([A-Z0-9_]+) ([0-9a-f]{64}) ([0-9a-f]{64}|[0-9a-f]{96})\n")
TUNNELS = 4


def small(**tables: Any) -> dict[str, Any]:
    """Two WLCs, two MSEs, each MSE at each WLC."""
    return {
        "name": "small",
        "wlc": {"count": 2, "listen": "127.77.12.5:0", "step": "port", "stations": 5},
        "mse": {"count": 2},
        "load": {"rate": 100, "stages": [{"hold": "300ms"}]},
        **tables,
    }


def lines_of(path: Path) -> list[tuple[str, str, str]]:
    """The whole file, in lines of the format and nothing else."""
    text = path.read_text("ascii")
    found = [match.groups() for match in LINE.finditer(text)]
    assert "".join(f"{label} {random} {secret}\n" for label, random, secret in found) == text
    return [(label, random, secret) for label, random, secret in found]


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SSLKEYLOGFILE", raising=False)
    before = os.umask(0)  # so that nothing but ourselves keeps others out
    yield
    os.umask(before)


@pytest.mark.parametrize(
    ("tables", "version"),
    [
        ({"tls": {"version": "1.2"}}, "1.2"),
        ({"tls": {"version": "1.3"}}, "1.3"),
        ({"transport": "dtls", "wlc": {"count": 2, "listen": "127.77.12.5:16113", "stations": 5}}, "1.2"),
    ],
    ids=["1.2", "1.3", "dtls"],
)
def test_both_ends_of_every_tunnel_are_logged(tables: dict[str, Any], version: str) -> None:
    result = run(small(**tables), workers=2, keylog="keys.log")
    assert result.counters["sessions.established"] == TUNNELS
    found = Counter(lines_of(Path("keys.log")))
    # Two processes a side wrote it. Each line is there twice: both ends know the same secret.
    assert set(found.values()) == {2}
    by_tunnel: dict[str, list[str]] = {}
    for label, random, _ in found:
        by_tunnel.setdefault(random, []).append(label)
    assert len(by_tunnel) == TUNNELS
    for labels in by_tunnel.values():
        assert sorted(labels) == sorted(LABELS[version])
    assert mode(Path("keys.log")) == 0o600
    assert (result.key_log, result.key_log_trouble) == (str(Path("keys.log").absolute()), "")


def test_resumed_sessions_are_logged() -> None:
    load = {"kind": "handshake", "rate": 20, "resumed": 0.5, "stages": [{"hold": "500ms"}]}
    result = run(small(load=load, tls={"version": "1.2"}), workers=1, keylog="keys.log")
    assert result.counters["handshakes.resumed"] > 0
    randoms = {random for _, random, _ in lines_of(Path("keys.log"))}
    assert len(randoms) == result.counters["handshakes.completed"]


def test_a_result_says_so_wherever_it_is_shown() -> None:
    said = "the secrets of all tunnels are in"
    for keylog, times in (("keys.log", 1), (None, 0)):
        result = run(small(), workers=1, keylog=keylog)
        pages = (html.run_page(result, {}, ""), markdown.run_markdown(result), told(result))
        assert [page.count(said) for page in pages] == [times] * 3


def told(result: RunResult) -> str:
    from rich.console import Console

    console = Console(width=200)
    with console.capture() as capture:
        console.print(terminal.summary(result, None))
    return capture.get()


def test_the_variable_is_enough_and_the_option_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSLKEYLOGFILE", "variable.log")
    result = run(small(), workers=1)
    assert result.key_log == str(Path("variable.log").absolute())
    lines = len(lines_of(Path("variable.log")))
    assert lines == 2 * TUNNELS
    assert run(small(), workers=1, keylog="option.log").key_log == str(Path("option.log").absolute())
    assert len(lines_of(Path("option.log"))) == lines
    assert len(lines_of(Path("variable.log"))) == lines
    monkeypatch.setenv("SSLKEYLOGFILE", "")
    assert run(small(), workers=1).key_log == ""
    assert {path.name for path in Path().iterdir()} == {"variable.log", "option.log"}


def test_a_file_that_is_there_is_appended_to_and_narrowed() -> None:
    log = Path("keys.log")
    log.write_text("# of another program\n", "ascii")
    log.chmod(0o644)
    run(small(), workers=1, keylog=log)
    first, *rest = log.read_text("ascii").splitlines()
    assert (first, len(rest)) == ("# of another program", 2 * TUNNELS)
    assert mode(log) == 0o600


def test_a_file_that_cannot_be_had_is_refused_before_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo("pipe")
    Path("folder").mkdir()
    Path("theirs").touch()
    owner = Path("theirs").stat().st_uid
    reasons = {
        "no/keys.log": "no/keys.log: no such file or directory",
        "folder": "folder: is a directory",
        "pipe": "pipe: no such device or address",
        "/dev/null": "/dev/null: not a regular file",
        "keys\0.log": "keys\0.log: embedded null byte",
    }
    for name, found in reasons.items():
        refused("--keylog", found, keylog=name)
    monkeypatch.setenv("SSLKEYLOGFILE", "folder")
    refused("SSLKEYLOGFILE", "folder: is a directory")
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    refused("--keylog", "theirs: another user's file", keylog="theirs")
    assert {path.name for path in Path().iterdir()} == {"pipe", "folder", "theirs"}


def refused(where: str, found: str, **options: Any) -> None:
    for call in (run, capacity):
        with pytest.raises(InputError) as raised:
            call(small(), results="results", **options)
        (problem,) = raised.value.problems
        assert (problem.where, problem.found) == (where, found)


class Context:
    """Has OpenSSL's callback called by the test."""

    def set_keylog_callback(self, callback: Callable[[None, bytes], None]) -> None:
        self._callback = callback

    def say(self, line: bytes) -> None:
        self._callback(None, line)


def test_a_disk_that_is_full_ends_the_log_and_not_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers are forked from a process that is there already: this is of one log, and of what a result says of it."""
    log, context = KeyLog(Path("keys.log"), "--keylog"), Context()
    log.observe([context])  # type: ignore[list-item]
    context.say(b"one")

    def full(_descriptor: int, _data: bytes) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        context.say(b"two")
    context.say(b"three")
    assert Path("keys.log").read_text("ascii") == "one\n"
    assert log.trouble == "no space left on device"


def test_a_search_logs_all_its_loads() -> None:
    result = capacity(
        small(), workers=1, dimensions=["handshake.per_s"], slos=["handshakes.failed == 0"], hold="200ms",
        start={"handshake.per_s": 20}, maximum={"handshake.per_s": 20.0}, confirm="200ms", resolution=0.5,
        overrides=["capacity.warmup=10ms", "capacity.cooldown=10ms"], keylog="keys.log",
    )  # fmt: skip
    assert (result.key_log, result.key_log_trouble) == (str(Path("keys.log").absolute()), "")
    (found,) = result.dimensions
    done = sum(probe.achieved * probe.hold_s for probe in found.probes)
    assert len({random for _, random, _ in lines_of(Path("keys.log"))}) >= done > 0
