"""`loadgen capacity` as people start it: what is printed, and which exit code it comes to."""

from __future__ import annotations

from loadgen.commands.options import CapacityOptions
from loadgen.commands.output import complain, complain_of, display, say
from loadgen.commands.searcher import search
from loadgen.commands.watching import watching
from loadgen.errors import ExitCode
from loadgen.report import capacity as shown
from loadgen.results.document import as_json
from loadgen.run.signals import noted


def search_capacity(options: CapacityOptions, *, json: bool, quiet: bool) -> int:
    """Do it; returns the exit code.

    Raises:
        InputError: something is not usable; nothing was written and nothing was sent.
    """
    searched = search(options, lambda title: watching(title, quiet=quiet))
    result, folder = searched.result, searched.folder
    assert folder is not None  # the option has a default
    with noted():
        if json:
            say(as_json(result), nl=False)
        elif not quiet:
            display(shown.summary(result, str(folder.path) if folder.created else None))
        unwritten = complain_of(folder)
    if result.exit_code == ExitCode.UNREACHABLE and not quiet:
        from loadgen.commands.advice import advice

        for line in advice(searched.source, searched.plan, {}):
            complain(line)
    return result.exit_code or int(unwritten)
