"""`loadgen record` as people start it: what is printed, and which exit code it comes to."""

from __future__ import annotations

from collections.abc import Sequence

from loadgen.commands.options import RecordOptions
from loadgen.commands.output import announce, complain, say
from loadgen.commands.recorder import record
from loadgen.commands.watching import watching_record
from loadgen.hosts import endpoint_shown
from loadgen.report import recording as shown
from loadgen.run.signals import noted


def record_tunnels(options: RecordOptions, *, quiet: bool) -> int:
    """Do it; returns the exit code.

    Raises:
        InputError: something is not usable; nobody was listened to, and no file was made.
    """

    def listening(addresses: Sequence[tuple[str, int]]) -> None:
        announce(f"ready: recording at {endpoint_shown(*addresses[0])}")

    with watching_record(quiet=quiet) as (show, tell):
        result = record(options, on_line=tell, on_warning=complain, on_progress=show, on_listening=listening)
    with noted():
        if not quiet:
            for line in shown.summary(result.progress, result.paths):
                say(line)
        if result.progress.trouble:
            complain(f"recorded only in part: {result.progress.trouble}")
    return int(result.exit_code)
