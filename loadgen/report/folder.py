"""The folder that a run leaves: <results>/<UTC>-<scenario>-<digest>/."""

from __future__ import annotations

from datetime import datetime
from itertools import count
from pathlib import Path

from loadgen.errors import InputError, Problem


class ResultFolder:
    """A folder of one run; `path` is final once it was `created`."""

    def __init__(self, results: Path, started: datetime, scenario: str, digest: str) -> None:
        """Args: started: in UTC."""
        self.started = started
        self.created = False
        self.path = results / f"{started:%Y%m%dT%H%M%SZ}-{scenario}-{digest}"

    @classmethod
    def at(cls, path: Path, started: datetime) -> ResultFolder:
        """A folder with a name of its own: one run of several."""
        folder = cls(path.parent, started, "", "")
        folder.path = path
        return folder

    def create(self) -> None:
        """Make the folder; a second run in the same second gets a number behind its name.

        Raises:
            InputError: it cannot be made. Found before the run, not after it.
        """
        first = self.path
        for number in count(2):
            try:
                self.path.mkdir(parents=True)
            except FileExistsError:
                if not self.path.is_dir():  # something else is in the way, perhaps further up
                    raise InputError(Problem(str(self.path), "a folder (--results)", "a file")) from None
                self.path = first.with_name(f"{first.name}-{number}")
            except OSError as error:
                found = (error.strerror or str(error)).lower()
                raise InputError(Problem(str(self.path), "a folder that can be made (--results)", found)) from error
            else:
                self.created = True
                return

    def write(self, name: str, text: str) -> None:
        """Write one file.

        Raises:
            InputError: the disk is full, or the folder has gone.
        """
        try:
            (self.path / name).write_text(text, "utf-8")
        except OSError as error:
            found = (error.strerror or str(error)).lower()
            raise InputError(Problem(str(self.path / name), "a file that can be written", found)) from error
