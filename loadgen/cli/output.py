"""What is printed. On stdout it is what was asked for: if it cannot be, that is an error. stderr is for people."""

from __future__ import annotations

import errno
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

import click

from loadgen.errors import OutputError
from loadgen.foreign import plain, visible

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console, ConsoleOptions, RenderableType

# Into a file or a pipe, nothing has to fit a window.
_FILE_WIDTH = 120
# Of one complaint: most of what is said of a file with many problems is in many lines.
_MOST = 8192


def say(text: str = "", *, nl: bool = True) -> None:
    """Print text on stdout.

    Raises:
        OutputError
    """
    require_stdout()
    try:
        click.echo("\n".join(map(_visible, text.split("\n"))), nl=nl)
    except OSError as error:
        raise give_up(error) from error


def _visible(line: str) -> str:
    """Documents of some formats have tabs, and lines that end with a carriage return."""
    body = line.removesuffix("\r")
    return "\t".join(map(visible, body.split("\t"))) + line[len(body) :]


def display(what: RenderableType, file_width: int = _FILE_WIDTH) -> None:
    """Print a table, or something else that has a shape, on stdout.

    Args:
        file_width: of what goes into a file or a pipe.

    Raises:
        OutputError
    """
    require_stdout()
    console = output(file_width)
    try:
        console.print(what)
        console.file.flush()
    except OSError as error:
        raise give_up(error) from error
    except SystemExit:  # how rich ends a process whose output nobody reads any more: as if a threshold had failed
        raise give_up(BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))) from None


def require_stdout() -> None:
    """Nobody can be told anything where stdout was closed before we began, and Python takes no notice of that.

    Raises:
        OutputError
    """
    if sys.stdout is None:  # its descriptor may be somebody else's by now, so nothing is put in its place
        raise OutputError("stdout: expected to print what was found, found it closed")


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


def give_up(error: OSError) -> OutputError:
    """Print no more; what is left over must not fail again when Python flushes it at its end."""
    with suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return OutputError(f"stdout: expected to print what was found, found {(error.strerror or str(error)).lower()}")
