"""Those who look on: a live view at a terminal, or a line every few seconds in a log."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from loadgen.commands.onlooker import Onlooker
from loadgen.commands.output import plainly
from loadgen.foreign import visible
from loadgen.measure.progress import Snapshot
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
    # Not above: a run on which nobody looks does not wait for them.
    from rich.console import Console

    console = Console(stderr=True, highlight=False)
    plainly(console)
    if plain or not console.is_terminal:
        yield Onlooker(_every_few_seconds(), _log)
    else:
        from rich.live import Live
        from rich.text import Text

        from loadgen.report import terminal

        with Live(console=console, transient=True, auto_refresh=False) as view:
            yield Onlooker(
                lambda snapshot: view.update(terminal.live(snapshot, visible(title)), refresh=True),
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
    from loadgen.report import terminal

    last = 0.0

    def show(snapshot: Snapshot) -> None:
        nonlocal last
        if time.monotonic() - last >= _LINE_S:
            last = time.monotonic()
            _log(terminal.line(snapshot))

    return show
