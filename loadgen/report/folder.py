"""The folder that a run leaves: <results>/<UTC>-<scenario>-<digest>/.

It is filled as the run goes on, what cannot be had again first: the interval log grows, and result.json is replaced by
a newer one. What cannot be written costs that file only.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from itertools import count
from pathlib import Path

from loadgen.errors import InputError, Problem
from loadgen.measure.hlog import IntervalLog


class ResultFolder:
    """A folder of one run; `path` is final once it was `created`, and `troubles` once it was closed."""

    def __init__(self, results: Path, started: datetime, scenario: str, digest: str) -> None:
        """Args: started: in UTC."""
        self.started = started
        self.created = False
        self._logs: dict[str, IntervalLog] = {}
        self._troubles: dict[str, str] = {}
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

    def write_made(self, name: str, make: Callable[[], str]) -> None:
        """Write what is made in the midst of a run: what cannot be made now costs this file, and not the run."""
        try:
            text = make()
        except Exception as error:  # a fault of ours: said at the end, unless it could be made by then
            self._troubles[name] = f"{type(error).__name__}: {error}"
            return
        self.write(name, text)

    def write(self, name: str, text: str) -> None:
        """Write one file, or put another in its place: whole, or not at all, and then `troubles` tells."""
        path, unfinished = self.path / name, self.path / f".{name}.part"
        try:
            unfinished.write_text(text, "utf-8")
            unfinished.replace(path)
        except OSError as error:
            with suppress(OSError):
                unfinished.unlink()
            self._troubles[name] = (error.strerror or str(error)).lower()
        else:
            self._troubles.pop(name, None)

    def check(self) -> None:
        """Refuse a folder that takes nothing, while nothing was sent yet.

        Raises:
            InputError: every file that could not be written so far.
        """
        if self._troubles:
            raise InputError(self._problems())

    def log(self, name: str, start_unix_s: float) -> IntervalLog:
        """Begin an interval log, to be closed by `close`."""
        self._logs[name] = log = IntervalLog(self.path / name, start_unix_s)
        return log

    def close(self) -> None:
        """Interval logs are complete."""
        for name, log in self._logs.items():
            if why := log.close():
                self._troubles[name] = why

    @property
    def troubles(self) -> list[str]:
        """Which files are missing, or are not what they should be, and why. The others are there."""
        return list(map(str, self._problems()))

    def _problems(self) -> list[Problem]:
        expected = "a file that can be written"
        return [Problem(str(self.path / name), expected, why) for name, why in self._troubles.items()]
