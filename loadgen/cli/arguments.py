"""Arguments that several commands share. Light: it is imported for `--help`."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

import click

from loadgen.commands.options import SourceOptions

# Where the dynamic linker finds them by itself; without one, trio gives its threads no names.
_LIBRARIES = {"pthread": "libpthread.so.0"}
_SOURCE = (
    click.argument("scenario", type=click.Path(path_type=Path)),
    click.option(
        "--set",
        "overrides",
        multiple=True,
        metavar="PATH=VALUE",
        help="Change a value of the scenario; repeatable.",
    ),
    click.option("--target", metavar="wlc=HOST:PORT[,...]", help="Play the MSEs, at somebody else's WLCs."),
    click.option("--serve", type=click.Choice(["wlc", "mse"]), help="Play this side only."),
    click.option(
        "--workers",
        default="auto",
        show_default=True,
        metavar="N|auto",
        help="Processes per side; auto: by cores and descriptors.",
    ),
)
wait_option = click.option(
    "--wait-for-target",
    metavar="30s",
    help="How long to wait for a side that is not there yet: WLCs that refuse (default: not at all), or the first MSE "
    "with --serve wlc (default: until Ctrl-C).",
)
results_option = click.option(
    "--results",
    default="results",
    show_default=True,
    type=click.Path(path_type=Path),
    help="Where to put the result folder.",
)
key_log_option = click.option(
    "--keylog",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Append the secrets of all tunnels to FILE, for Wireshark.  [default: what SSLKEYLOGFILE names, or nothing]",
)
threshold_option = click.option(
    "--threshold",
    "thresholds",
    multiple=True,
    metavar='"NAME OP VALUE"',
    help="What the run must reach; repeatable.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print result.json, and nothing else, on stdout.")
quiet_option = click.option("--quiet", is_flag=True, help="No progress and no summary.")


@contextmanager
def loading() -> Iterator[None]:
    """Load modules without a look for garbage, then or later: they are none, and it would take a tenth of the time.

    And without a look for libraries: trio asks for that of threads, for which ctypes starts ldconfig, or a compiler.
    And without threads of numpy's: nothing here is multiplied with matrices.
    """
    import ctypes.util

    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    gc.disable()
    searching = ctypes.util.find_library
    ctypes.util.find_library = _LIBRARIES.get  # type: ignore[assignment]
    try:
        yield
        gc.freeze()
    finally:
        ctypes.util.find_library = searching
        gc.enable()


def source_options(command: Callable[..., int]) -> Callable[..., int]:
    """Give a command the scenario and its options, as one argument `source`."""

    @wraps(command)
    def wrapped(**options: Any) -> int:
        source = SourceOptions(*(options.pop(name) for name in SourceOptions._fields))
        return command(source, **options)

    decorated: Callable[..., int] = wrapped
    for decorate in reversed(_SOURCE):
        decorated = decorate(decorated)
    return decorated
