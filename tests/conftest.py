"""For all tests."""

from __future__ import annotations

import pytest

from loadgen.run.forkserver import fork_server


@pytest.fixture(scope="session", autouse=True)
def _fork_server() -> None:
    """It is there before any test has threads, or runs trio."""
    fork_server()
