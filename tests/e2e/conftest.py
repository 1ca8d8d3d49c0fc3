"""What the tests that run `loadgen` as its users do are given; e2e_loadgen.py has what they import."""

from __future__ import annotations

import itertools
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from e2e_loadgen import SMALL, Ended, Identities, Run, Running, Start, make_start, new_identities

from loadgen.cli.main import main


@pytest.fixture(autouse=True)
def hangups() -> Iterator[None]:
    """Whoever runs the tests may have had a reason to ignore SIGHUP; what is tested has none."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start `loadgen ARGUMENTS`; every run gets a results folder of its own."""
    started: list[Running] = []
    yield make_start(tmp_path, started)
    for running in started:
        running.stop()


@pytest.fixture
def run(start: Start) -> Run:
    """Run `loadgen ARGUMENTS` to its end."""
    return lambda *arguments, **options: start(*arguments, **options).end()


@pytest.fixture
def refuse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """`run` in this process, by the entry point of `loadgen`: for what is refused before a load, at a fraction of what
    it costs to start one.
    """
    numbers = itertools.count()

    def call(*arguments: object) -> Ended:
        folder = tmp_path / f"refused-{next(numbers)}"
        words = [str(argument) for argument in arguments]
        monkeypatch.setattr(sys, "argv", ["loadgen", *words, "--results", str(folder)])
        handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
        try:
            with pytest.raises(SystemExit) as left:
                main()
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
        assert isinstance(left.value.code, int)
        return Ended(left.value.code, *capsys.readouterr(), folder)

    return call


@pytest.fixture(scope="module")
def start_shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """`start` for runs that several tests of a module look at."""
    started: list[Running] = []
    yield make_start(tmp_path_factory.mktemp("shared"), started)
    for running in started:
        running.stop()


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A scenario that takes half a second of load."""
    path = tmp_path / "small.toml"
    path.write_text(SMALL, "utf-8")
    return path


@pytest.fixture(scope="session")
def identities(tmp_path_factory: pytest.TempPathFactory) -> Identities:
    return new_identities(tmp_path_factory.mktemp("identities"))
