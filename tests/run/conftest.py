"""What is under a supervisor are the fleets of the drivers' tests; and workers in the tests' own process."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from loadgen.run import heap

sys.path.insert(0, str(Path(__file__).parents[1] / "drive"))


@pytest.fixture(autouse=True)
def noted_garbage() -> Iterator[None]:
    """A worker notes garbage collections for as long as its process lives: that of a test is to stop with it."""
    before = list(gc.callbacks)
    yield
    gc.callbacks[:] = before


@pytest.fixture(autouse=True)
def thawed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker would freeze the objects of all tests."""
    monkeypatch.setattr(heap, "settle", lambda: None)
