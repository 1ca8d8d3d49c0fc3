"""`loadgen`: the group of its commands, and the one place where an error becomes a message and an exit code."""

from __future__ import annotations

import sys
import warnings
from contextlib import suppress
from importlib import import_module
from typing import NoReturn

import click

from loadgen import __version__
from loadgen.commands.output import complain, give_up, printed
from loadgen.errors import ExitCode, LoadgenError
from loadgen.run import signals

# Each is in the module of its name, in this room, and imported when it is asked for: a run waits for no other command.
_COMMANDS = (
    *("run", "replay", "status", "plan", "capacity", "ab", "compare", "metrics", "report", "export", "locust-worker"),
    *("identity", "profile", "check", "record", "infer", "schema"),
)


class _Commands(click.Group):
    """The group of all commands."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        name = cmd_name.replace("-", "_")
        command: click.Command = getattr(import_module(f"loadgen.cli.{name}"), name)
        return command


def _tell_version(context: click.Context, _option: click.Parameter, wanted: bool) -> None:
    if wanted:
        from loadgen.native.library import standing

        click.echo(f"loadgen, version {__version__}, {standing()}")
        context.exit()


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_tell_version, help="Print which this is."
)
def cli() -> None:
    """Load tester for NMSP: simulated wireless LAN controllers and mobility services engines."""


def main() -> NoReturn:
    """Entry point of the `loadgen` command."""
    signals.interrupt()
    if not sys.warnoptions:  # what libraries warn of is said to whoever works on this program, and nobody else
        warnings.simplefilter("ignore")
    try:
        code = int(cli.main(standalone_mode=False) or 0)
    except (click.exceptions.Abort, KeyboardInterrupt):
        code = ExitCode.INTERRUPTED
    except click.ClickException as error:
        with suppress(OSError):
            error.show()
        code = error.exit_code
    except LoadgenError as error:
        complain(str(error))
        code = error.exit_code
    except OSError as error:
        from traceback import extract_tb

        if extract_tb(error.__traceback__)[-1].filename != click.utils.__file__:
            raise
        give_up(error)  # what click prints by itself: help
        code = ExitCode.PASSED
    signals.ignore()
    sys.exit(code or printed())
