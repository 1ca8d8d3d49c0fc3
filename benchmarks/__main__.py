"""`python -m benchmarks [CASE ...]`: measure, write JSON lines and a Markdown table into results/benchmarks/."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path

import click

from benchmarks import (
    cases,
    many_case,
    native_case,
    picture,
    profile_case,
    record_case,
    replay_case,
    side_by_side,
    start_case,
)
from benchmarks.cases import Case, Figures, Measured, Row
from benchmarks.nodes import case as nodes_case
from benchmarks.processes import Failed, PeerMissing
from loadgen.results.result import environment

CASES = (
    *cases.CASES,
    native_case.CASE,
    profile_case.CASE,
    replay_case.CASE,
    side_by_side.CASE,
    record_case.CASE,
    nodes_case.CASE,
    start_case.CASE,
    many_case.CASE,
)
_NAMES = [case.name for case in CASES]
_MET = {None: "", True: "met", False: "**missed**"}
_COLUMNS = ("measure", "loadgen", "against", "peer", "ratio", "target", "", "note")


@click.command()
@click.argument("names", nargs=-1, metavar="[CASE]...")
@click.option("--repeats", type=click.IntRange(1, 20), help="Rounds of each case, instead of its own number.")
@click.option("--results", default="results/benchmarks", show_default=True, type=click.Path(path_type=Path))
def main(names: tuple[str, ...], repeats: int | None, results: Path) -> None:
    """Measure all cases, or those whose name begins with CASE: variants in turn, each in a fresh process."""
    chosen = [case for case in CASES if not names or case.name.startswith(names)]
    if not chosen:
        raise click.BadParameter(f"expected the beginning of one of {', '.join(_NAMES)}, found {' '.join(names)}")
    if len(os.sched_getaffinity(0)) < 2:
        raise click.ClickException("expected 2 cores, one for each side; found 1")
    started = datetime.now(UTC)
    results.mkdir(parents=True, exist_ok=True)
    stem = results / f"{started:%Y%m%dT%H%M%SZ}"
    rows: list[Row] = []
    remarks: list[str] = []
    with stem.with_suffix(".jsonl").open("w", encoding="utf-8") as lines:
        for case in chosen:
            measured = measure_case(case, repeats or case.repeats, lines, remarks)
            try:
                rows += case.rows(measured)
                if case.name == "scale":
                    picture.draw(measured, stem.with_suffix(".svg"))
            except KeyError as error:
                remarks.append(f"{case.name}: no table, nothing was measured of {error}")
            except PeerMissing as error:
                remarks.append(f"{case.name}: {error}")
    text = table_of(rows, remarks, started)
    stem.with_suffix(".md").write_text(text, "utf-8")
    click.echo(text)
    click.echo(f"in {stem}.md, {stem}.jsonl", err=True)


def measure_case(case: Case, repeats: int, lines: object, remarks: list[str]) -> Measured:
    """All variants in turn, `repeats` times; a variant that cannot be measured is left out, with a remark."""
    measured: defaultdict[str, list[Figures]] = defaultdict(list)
    given_up: set[str] = set()
    try:
        with case.surroundings() as around:
            variants = case.variants(around)
            for repeat in range(repeats):
                for name, measure in variants.items():
                    if name in given_up:
                        continue
                    begun = time.monotonic()
                    try:
                        figures = measure()
                    except (PeerMissing, Failed) as error:
                        given_up.add(name)
                        remarks.append(f"{case.name}, {name}: {error}")
                        click.echo(f"{case.name} · {name}: {error}", err=True)
                        continue
                    measured[name].append(figures)
                    record = {"case": case.name, "variant": name, "repeat": repeat, **figures}
                    print(json.dumps(record), file=lines, flush=True)  # type: ignore[call-overload]
                    spent = time.monotonic() - begun
                    click.echo(f"{case.name} · {name} · {repeat + 1}/{repeats} · {spent:.0f} s", err=True)
    except Failed as error:
        remarks.append(f"{case.name}: {error}")
    # A variant that failed once is not compared with by its other rounds.
    return {name: found for name, found in measured.items() if len(found) == repeats}


def table_of(rows: list[Row], remarks: list[str], started: datetime) -> str:
    lines = [f"# Benchmarks of {started:%Y-%m-%d %H:%M} UTC", ""]
    lines += ["| " + " | ".join(_COLUMNS) + " |", "| " + " | ".join("---" for _ in _COLUMNS) + " |"]
    for row in rows:
        cells = (row.measure, row.ours, row.peer, row.theirs, row.ratio, row.target, _MET[row.met], row.note)
        lines.append("| " + " | ".join(cells) + " |")
    lines += ["", *(f"- {remark}" for remark in remarks)]
    machine = {**environment(), "openssl peer": _openssl_version(), "locust": _locust_version()}
    lines += ["", "Figures: median (best); ratios: median (lowest to highest) over rounds.", ""]
    lines += [", ".join(f"{name} {value}" for name, value in machine.items()) + f", {platform.system()}", ""]
    return "\n".join(lines)


def _openssl_version() -> str:
    try:
        found = subprocess.run(["openssl", "version"], capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return "missing"
    return found.stdout.split("(")[0].strip()


def _locust_version() -> str:
    from importlib import metadata

    try:
        return metadata.version("locust")
    except metadata.PackageNotFoundError:
        return "missing"


if __name__ == "__main__":
    sys.exit(main())
