"""For all tests."""

from __future__ import annotations

import gc
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING

import pytest
from chromium import chromium
from hypothesis import settings
from thoroughness import examples

from loadgen.run.forkserver import fork_server

if TYPE_CHECKING:
    from playwright.sync_api import Browser

# Of tests that do not say how many examples they want; how long one takes is for the machine to decide. In CI,
# hypothesis's own profile for it is the one that is on, which has no deadline either.
settings.register_profile("waited-for", max_examples=examples(100), deadline=None)
if settings.get_current_profile_name() != "ci":
    settings.load_profile("waited-for")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What is collected stays for as long as the process does: no garbage is looked for in it, now or later."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest begins first, so that nothing is left to wait for when all others are done."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


@pytest.fixture(scope="session", autouse=True)
def _fork_server() -> None:
    """It is there before any test has threads, or runs trio."""
    fork_server()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Starting one takes longer than most pages do. Not for longer than a module: it keeps an event loop open."""
    with chromium() as started:
        yield started
