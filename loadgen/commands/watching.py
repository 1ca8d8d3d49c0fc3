"""Those who look on: a live view at a terminal, or a line every few seconds in a log."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from loadgen.commands.onlooker import Onlooker
from loadgen.commands.output import plainly
from loadgen.foreign import visible
from loadgen.measure.progress import Snapshot
from loadgen.run.supervisor import Watcher

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
