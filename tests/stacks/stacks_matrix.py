"""Both checks against every TLS stack of other make that is here: `python tests/stacks/stacks_matrix.py` tells.

A row is a stack and a version. As an MSE it calls `check mse`, as a WLC it waits for `check wlc`; once where it is
listed (or lists us), once where not; and once as an MSE that does not take our certificate. Of stacks in Python
packages, a `pip install --target` in PYTHONPATH will do.
"""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from stacks_makes import MAKES
from stacks_peers import MSE, calling, check_settings
from stacks_programs import Make, files_in

from loadgen.diagnosis.listed import Listed
from loadgen.diagnosis.steps import CheckReport
from loadgen.diagnosis.wlc_check import check_wlc
from loadgen.identity.keyhash import key_hash
from loadgen.units import NS_PER_S

# It ends where the stack, which speaks no NMSP, hangs up or, as a WLC, says nothing more.
_STEP_NS = 2 * NS_PER_S
_HEAD = (
    "| stack | TLS | MSE, listed | not listed | it reads | does not trust us | WLC that lists us | that does not |\n"
    "| --- | --- | --- | --- | --- | --- | --- | --- |"
)


class Met(NamedTuple):
    """What came of it: what the check says, and what the stack said at last."""

    report: CheckReport
    said: str

    @property
    def up(self) -> bool:
        """The tunnel stood, and nobody had anything against a certificate."""
        return self.report.failed == "capability"

    def told(self) -> str:
        """For a cell of the table."""
        if self.up:
            return "up"
        cause = self.report.causes[0].name if self.report.causes else "no cause"
        return f"{self.report.kind}: {cause}"


def as_mse(make: Make, version: str, folder: Path, *, listed: bool, trusts: bool = True) -> Met:
    """The stack calls `check mse`. Args: trusts: it takes our certificate."""
    said: list[str] = []
    entry = Listed(MSE.mac, key_hash(MSE.certificate(), "sha256"), "list.txt: line 3")
    report = calling(
        lambda port: said.append(make.calls(port, version, trusts, folder)),
        listed=(entry,) if listed else (),
        strong=version >= "1.2",
    )
    return Met(report, said[0] if said else "")


def as_wlc(make: Make, version: str, folder: Path, *, listed: bool) -> Met:
    """The stack waits for `check wlc`."""
    settings = check_settings(MSE, strong=version >= "1.2", timeout_ns=_STEP_NS)
    with make.waits(version, listed, folder) as port:
        return Met(check_wlc("127.0.0.1", port, settings), "")


def main(names: list[str]) -> None:
    """Print the table, in Markdown; of these stacks only, if any are named."""
    print(_HEAD)
    with tempfile.TemporaryDirectory() as made:
        folder = files_in(Path(made))
        for make in MAKES:
            if names and make.name not in names:
                continue
            if make.missing:
                print(f"| {make.name} | {make.missing} | | | | | | |")
                continue
            for version in make.versions:
                unlisted = as_mse(make, version, folder, listed=False)
                heard = "46" if re.search(make.heard, unlisted.said) else unlisted.said.strip()[-60:]
                cells = (
                    as_mse(make, version, folder, listed=True).told(),
                    unlisted.told(),
                    heard,
                    as_mse(make, version, folder, listed=True, trusts=False).told(),
                    as_wlc(make, version, folder, listed=True).told(),
                    as_wlc(make, version, folder, listed=False).told(),
                )
                print(f"| {make.name} | {version} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
