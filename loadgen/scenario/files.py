"""Which files of the machine that plays it a scenario names, and whether they stay below a folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from loadgen.errors import Problem
from loadgen.scenario.schema import Scenario
from loadgen.strict import shown

# What `trust` may be beside a file.
_NO_FILES = ("fleet", "any")


def files_of(scenario: Scenario) -> Iterator[tuple[str, str]]:
    """Where in the scenario it stands, and its name; without the wire profile, which is a part of the scenario."""
    wlc, mse = scenario.wlc, scenario.mse
    named = [
        ("wlc.auth_list", wlc.auth_list),
        *((f"wlc.aaa.lists[{index}].auth_list", source.auth_list) for index, source in enumerate(wlc.aaa.lists)),
        ("load.capture", scenario.load.capture),
        ("load.capture_keylog", scenario.load.capture_keylog),
        *((f"mse.identities[{index}]", name) for index, name in enumerate(mse.identities)),
    ]
    trusted = [("wlc.trust", wlc.trust), ("tls.trust", scenario.tls.trust)]
    named += [(where, name) for where, name in trusted if name not in _NO_FILES]
    for where, name in named:
        if name is not None:
            yield where, name


def check_files(scenario: Scenario, folder: Path) -> list[Problem]:
    """Files that somebody else's scenario must not have us open: those that are not below the folder."""
    return [
        Problem(where, f"a file below {folder}", shown(name))
        for where, name in files_of(scenario)
        if not is_below(folder / name, folder)
    ]


def is_below(path: Path, folder: Path) -> bool:
    """Whatever links and ".." lead to, the path ends below the folder."""
    try:
        return path.resolve().is_relative_to(folder.resolve())
    except (OSError, ValueError, RuntimeError):  # a NUL character, links in a circle: nothing that could be opened
        return False
