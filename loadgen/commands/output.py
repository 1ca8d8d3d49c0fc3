"""What is printed. On stdout it is what was asked for: if it cannot be, that is said, and the exit code tells it, too.
stderr is for people.
"""

from __future__ import annotations

import errno
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

import click

from loadgen.errors import ExitCode
from loadgen.foreign import plain, visible

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console, ConsoleOptions, RenderableType

    from loadgen.report.folder import ResultFolder

# Into a file or a pipe, nothing has to fit a window.
_FILE_WIDTH = 120
# Of one complaint: most of what is said of a file with many problems is in many lines.
_MOST = 8192
# Why nothing is printed any more, once it has failed.
_unprinted: list[str] = []


def say(text: str = "", *, nl: bool = True) -> None:
    """Print text on stdout."""
    if not _printable():
        return
    try:
        click.echo("\n".join(map(_visible, text.split("\n"))), nl=nl)
    except OSError as error:
        give_up(error)


def announce(text: str) -> None:
    """Tell whatever program has started us, `loadgen ab` for one; a person reads it on stderr."""
    if sys.stdout is None or not sys.stdout.isatty():
        say(text)


def _visible(line: str) -> str:
    """Documents of some formats have tabs, and lines that end with a carriage return."""
    body = line.removesuffix("\r")
    return "\t".join(map(visible, body.split("\t"))) + line[len(body) :]


def display(what: RenderableType, file_width: int = _FILE_WIDTH) -> None:
    """Print a table, or something else that has a shape, on stdout.

    Args:
        file_width: of what goes into a file or a pipe.
    """
    if not _printable():
        return
    console = output(file_width)
    try:
        console.print(what)
        console.file.flush()
    except OSError as error:
        give_up(error)
    except SystemExit:  # how rich ends a process whose output nobody reads any more: as if a threshold had failed
        give_up(BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE)))


def printed() -> ExitCode:
    """What it makes of a process that did well otherwise whether everything could be printed."""
    return ExitCode.NOT_WRITTEN if _unprinted else ExitCode.PASSED


def _printable() -> bool:
    """Nobody can be told anything where stdout was closed before we began, and Python takes no notice of that."""
    if sys.stdout is None and not _unprinted:  # its descriptor may be somebody else's by now: nothing is put there
        _not_printed("it closed")
    return not _unprinted


def _not_printed(found: str) -> None:
    _unprinted.append(f"stdout: expected to print what was found, found {found}")
    complain(_unprinted[0])


def output(file_width: int = _FILE_WIDTH) -> Console:
    """Where summaries go."""
    from rich.console import Console

    console = Console(highlight=False)
    plainly(console)
    if not console.is_terminal:
        console.width = max(console.width, file_width)
    return console


def plainly(console: Console) -> None:
    """Have a console print nothing that a terminal obeys but its own styles: a result may be anybody's file."""
    from rich.console import ConsoleRenderable, RenderHook
    from rich.segment import Segment

    class Plainly:
        def __init__(self, what: ConsoleRenderable) -> None:
            self._what = what

        def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
            for segment in console.render(self._what, options):
                text = segment.text
                if not segment.control and not text.isprintable():
                    text = "\n".join(map(visible, text.split("\n")))
                yield segment._replace(text=text)

    class Hook(RenderHook):
        def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
            return [Plainly(each) for each in renderables]

    console.push_render_hook(Hook())


def complain(text: str) -> None:
    """Say on stderr what is wrong, with our name before it; if that cannot be, there is nobody else to tell."""
    text = "\n".join(plain(line, _MOST) for line in text.split("\n"))
    with suppress(OSError):
        click.echo(f"loadgen: {text}" if "\n" not in text else f"loadgen:\n{text}", err=True)


def complain_of(*folders: ResultFolder) -> ExitCode:
    """Say what of a result is not there; returns what that makes of a run that did well otherwise."""
    for trouble in (trouble for folder in folders for trouble in folder.troubles):
        complain(trouble)
    return ExitCode.NOT_WRITTEN if any(folder.troubles for folder in folders) else ExitCode.PASSED


def give_up(error: OSError) -> None:
    """Print no more, and say why; what is left over must not fail again when Python flushes it at its end."""
    with suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    _not_printed((error.strerror or str(error)).lower())
