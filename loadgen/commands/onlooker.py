"""Whoever looks on while something runs, as two functions. Light: what shows it is elsewhere (`watching`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from loadgen.measure.progress import Snapshot


class Onlooker(NamedTuple):
    """Is shown the run as it goes on, and told a line now and then."""

    show: Callable[[Snapshot], None]
    say: Callable[[str], None]
