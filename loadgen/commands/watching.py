"""Those who look on: a live view at a terminal, or a line every few seconds in a log."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from typing import TYPE_CHECKING

from loadgen.commands.onlooker import Onlooker
from loadgen.commands.output import plainly
from loadgen.foreign import visible
from loadgen.measure.progress import Snapshot
from loadgen.report.progress import line
from loadgen.run.supervisor import Watcher

if TYPE_CHECKING:
    from loadgen.relay.recording import RecordProgress

# Without a terminal: a line this often.
_LINE_S = 5.0


@contextmanager
def watching(title: str, *, quiet: bool, plain: bool = False) -> Iterator[Onlooker]:
    """A person at a terminal, a log, or nobody; `plain`: something else is printed there, too."""
    if quiet or sys.stderr is None:  # started with 2>&-
        yield Onlooker(lambda _: None, lambda _: None)
        return
    if plain or not sys.stderr.isatty():
        yield Onlooker(_every_few_seconds(), _log)
        return
    with ExitStack() as until_the_end:
        view = cache(lambda: until_the_end.enter_context(_live(visible(title))))
        yield Onlooker(lambda snapshot: view().show(snapshot), lambda line: view().say(line))


@contextmanager
def _live(title: str) -> Iterator[Onlooker]:
    """What is shown at a terminal. A run begins without, for it takes longer to load than all that runs."""
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    from loadgen.report import terminal

    console = Console(stderr=True, highlight=False)
    plainly(console)
    with Live(console=console, transient=True, auto_refresh=False) as view:
        yield Onlooker(
            lambda snapshot: view.update(terminal.live(snapshot, title), refresh=True),
            lambda line: console.print(Text(line)),
        )


@contextmanager
def watching_record(*, quiet: bool) -> Iterator[tuple[Callable[[RecordProgress], None], Callable[[str], None]]]:
    """The same of a recording: who is shown how far it is, and who is told a line."""
    if quiet or sys.stderr is None:
        yield lambda _: None, lambda _: None
        return
    from rich.console import Console

    from loadgen.report.recording import progress_line

    console = Console(stderr=True, highlight=False)
    plainly(console)
    if not console.is_terminal:
        last = time.monotonic()

        def show(progress: RecordProgress) -> None:
            nonlocal last
            if time.monotonic() - last >= _LINE_S:
                last = time.monotonic()
                _log(progress_line(progress))

        yield show, _log
        return
    from rich.live import Live
    from rich.text import Text

    with Live(console=console, transient=True, auto_refresh=False) as view:
        yield (
            lambda progress: view.update(Text(progress_line(progress)), refresh=True),
            lambda line: console.print(Text(line)),
        )


def _log(line: str) -> None:
    # Not print(): a log that nobody reads any more must not end the run, now or when Python flushes at its end.
    with suppress(OSError):
        os.write(sys.stderr.fileno(), f"{visible(line)}\n".encode())


def _every_few_seconds() -> Watcher:
    last = 0.0

    def show(snapshot: Snapshot) -> None:
        nonlocal last
        if time.monotonic() - last >= _LINE_S:
            last = time.monotonic()
            _log(line(snapshot))

    return show
