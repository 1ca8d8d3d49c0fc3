"""`loadgen`: the group of its commands, and the one place where an error becomes a message and an exit code."""

from __future__ import annotations

import sys
import warnings
from contextlib import suppress
from traceback import extract_tb
from typing import NoReturn

import click

from loadgen import __version__
from loadgen.cli.ab import ab
from loadgen.cli.capacity import capacity
from loadgen.cli.check import check
from loadgen.cli.compare import compare
from loadgen.cli.export import export
from loadgen.cli.identity import identity
from loadgen.cli.infer import infer
from loadgen.cli.locust_worker import locust_worker
from loadgen.cli.metrics import metrics
from loadgen.cli.plan import plan
from loadgen.cli.profile import profile
from loadgen.cli.record import record
from loadgen.cli.replay import replay
from loadgen.cli.report import report
from loadgen.cli.run import run
from loadgen.cli.schema import schema
from loadgen.cli.status import status
from loadgen.commands.output import complain, give_up, printed
from loadgen.errors import ExitCode, LoadgenError
from loadgen.native.library import standing
from loadgen.run import signals


def _tell_version(context: click.Context, _option: click.Parameter, wanted: bool) -> None:
    if wanted:
        click.echo(f"loadgen, version {__version__}, {standing()}")
        context.exit()


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_tell_version, help="Print which this is."
)
def cli() -> None:
    """Load tester for NMSP: simulated wireless LAN controllers and mobility services engines."""


cli.add_command(run)
cli.add_command(replay)
cli.add_command(status)
cli.add_command(plan)
cli.add_command(capacity)
cli.add_command(ab)
cli.add_command(compare)
cli.add_command(metrics)
cli.add_command(report)
cli.add_command(export)
cli.add_command(locust_worker)
cli.add_command(identity)
cli.add_command(profile)
cli.add_command(check)
cli.add_command(record)
cli.add_command(infer)
cli.add_command(schema)


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
        if extract_tb(error.__traceback__)[-1].filename != click.utils.__file__:
            raise
        give_up(error)  # what click prints by itself: help
        code = ExitCode.PASSED
    signals.ignore()
    sys.exit(code or printed())
