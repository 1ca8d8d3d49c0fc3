"""`loadgen.commands.record`: a recorder within a program."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from loadgen.capture.reading import events_of
from loadgen.commands import record
from loadgen.errors import ExitCode, InputError
from loadgen.identity.credentials import new_key, save_identity, self_signed
from loadgen.relay.recording import RecordProgress

LISTEN = "127.77.62.1:0"


@pytest.fixture
def identity(tmp_path: Path) -> Path:
    path = tmp_path / "mse.pem"
    save_identity(self_signed("02:00:00:00:00:01", new_key("p256"), datetime.now(UTC)), path)
    return path


def test_a_limit_ends_it(tmp_path: Path, identity: Path) -> None:
    lines: list[str] = []
    warnings: list[str] = []
    seen: list[RecordProgress] = []
    listening: list[tuple[str, int]] = []
    result = record(
        LISTEN,
        "wlc=127.0.0.1:9",
        identity,
        tmp_path / "t.pcapng",
        max_time="50ms",
        on_line=lines.append,
        on_warning=warnings.append,
        on_progress=seen.append,
        on_listening=listening.extend,
    )
    assert result.exit_code == ExitCode.INCONCLUSIVE
    assert result.paths == (tmp_path / "t.pcapng",)
    assert (result.progress.came_up, result.interrupted) == (0, False)
    assert result.progress.written_bytes == (tmp_path / "t.pcapng").stat().st_size > 100
    assert listening[0][0] == "127.77.62.1"
    assert f"{listening[0][1]} and the WLC 127.0.0.1:9 say" in lines[0]
    assert [line.split()[0] for line in warnings] == ["PRIVATE:", "whoever"]
    assert seen
    assert [*events_of([(tmp_path / "t.pcapng").read_bytes()])] == []


def test_a_signal_ends_it_and_handlers_are_as_before(tmp_path: Path, identity: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)

    def end(_: Sequence[tuple[str, int]]) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    result = record(LISTEN, "wlc=127.0.0.1:9", identity, tmp_path / "t.pcapng", on_listening=end)
    assert result.interrupted
    assert result.exit_code == ExitCode.INTERRUPTED
    assert signal.getsignal(signal.SIGTERM) is before


def test_everything_that_is_wrong_is_said_at_once(tmp_path: Path, identity: Path) -> None:
    with socket.create_server(("127.77.62.1", 0)), pytest.raises(InputError) as refused:
        record("localhost", "127.0.0.1:9", identity, tmp_path / "t.pcapng", max_size="1", timeout="1", trust="missing")
    assert [problem.where for problem in refused.value.problems] == [
        *("--listen", "--target", "missing", "--timeout", "--max-size"),
    ]
    assert not (tmp_path / "t.pcapng").exists()


def test_in_another_thread_it_is_refused(tmp_path: Path, identity: Path) -> None:
    assert threading.current_thread() is threading.main_thread()
    with ThreadPoolExecutor(1) as pool, pytest.raises(RuntimeError, match="main thread"):
        pool.submit(record, LISTEN, "wlc=127.0.0.1:9", identity, tmp_path / "t.pcapng").result()
