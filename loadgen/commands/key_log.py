"""`--keylog` and the variable SSLKEYLOGFILE: which file gets the secrets of the tunnels."""

from __future__ import annotations

import os
from pathlib import Path

from loadgen.files import open_private_log

VARIABLE = "SSLKEYLOGFILE"


def key_log_asked(option: Path | None) -> tuple[Path, str] | None:
    """The file and what named it: the option, or else the variable, where it is not empty; None: nobody asks."""
    if option is not None:
        return option, "--keylog"
    named = os.environ.get(VARIABLE)
    return (Path(named), VARIABLE) if named else None


def key_log_path(option: Path | None) -> Path | None:
    """The file, wherever its writers are started: it can be written, and is there from now on.

    Raises:
        InputError: it cannot be had.
    """
    if (asked := key_log_asked(option)) is None:
        return None
    path, where = asked
    os.close(open_private_log(path, where))
    return path.absolute()
