"""What all commands do before they do anything."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from loadgen.cli.arguments import loading


@pytest.fixture(autouse=True)
def thawed() -> Iterator[None]:
    """The rest of the tests may leave garbage as before."""
    yield
    gc.unfreeze()


def test_what_is_loaded_is_never_looked_through_for_garbage() -> None:
    gc.unfreeze()
    with loading():
        assert not gc.isenabled()
        loaded = [[]]
    assert gc.isenabled()
    assert gc.get_freeze_count() > 0
    assert not any(each is loaded for each in gc.get_objects())


def test_what_cannot_be_loaded_leaves_the_look_for_garbage_on() -> None:
    with pytest.raises(ModuleNotFoundError), loading():
        raise ModuleNotFoundError
    assert gc.isenabled()
