"""What the tests of this folder share: scenario files written on the spot."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings

from loadgen.errors import ExitCode, InputError
from loadgen.nmsp.profile import reference_profile
from loadgen.scenario.plan import Plan, Use, make_plan
from loadgen.scenario.reading import load_scenario

# For every property test here: the same examples in every run, and no verdict on how fast the machine is.
REPEATABLE = settings(derandomize=True, deadline=None, database=None)

SMALL = 'name = "small"\nload.rate = 100\n'


def write(folder: Path, text: str) -> Path:
    path = folder / "x.toml"
    path.write_text(text, "utf-8")
    return path


def plan_of(
    folder: Path,
    text: str = SMALL,
    *overrides: str,
    use: Use = Use.BOTH,
    targets: list[tuple[str, int]] | None = None,
    duration_ns: int | None = None,
) -> Plan:
    """Load, check and resolve a scenario."""
    scenario, profile = load_scenario(write(folder, text), overrides)
    assert profile is reference_profile()
    return make_plan(scenario, profile, use=use, targets=targets or (), duration_ns=duration_ns)


def problems_of(folder: Path, text: str, *overrides: str) -> list[str]:
    """The texts of all problems; each begins with the file name, which is cut off."""
    path = write(folder, text)
    with pytest.raises(InputError) as refusal:
        load_scenario(path, overrides)
    assert refusal.value.exit_code is ExitCode.BAD_INPUT
    texts = [str(problem) for problem in refusal.value.problems]
    assert all(text.startswith(f"{path}: ") for text in texts), texts
    return [text.removeprefix(f"{path}: ") for text in texts]
