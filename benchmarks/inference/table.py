"""`make infer-bench`: made devices, inferred from one capture, scored on another; a table of how well."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.inference.making import make_files
from benchmarks.inference.scoring import FIGURES, score
from loadgen.capture.reading import events_of
from loadgen.capture.streams import Exchange, Stream, collect
from loadgen.infer.inference import infer

HEADS = {
    "bound_f1": "boundaries F1",
    "place_recall": "fields in place",
    "f1": "place and role F1",
    "core_f1": "of header and eight",
    "frames": "frames cut",
    "explained": "bytes explained",
    "messages": "messages",
    "names": "names",
    "infer_s": "CPU s",
}
# What the worst layout is to reach.
_WORST = {"f1": 0.65}


def exchanges_in(path: Path) -> list[Exchange]:
    with path.open("rb") as file:
        return collect(events_of(iter(lambda: file.read(1 << 20), b""), name=path.name))


def _whole(stream: Stream) -> bytes:
    """Up to the first hole."""
    return bytes(stream.runs[0][1]) if stream.runs and stream.runs[0][0] == 0 else b""


def measure(folder: Path) -> dict[str, float]:
    """Infers from the one capture of a device, and scores what is found on the other."""
    exchanges = exchanges_in(folder / "training.pcapng")
    began = time.process_time()
    found = infer(exchanges)
    took = time.process_time() - began
    if found.layout is None:
        return {**dict.fromkeys(FIGURES, 0.0), "infer_s": took}
    streams = [
        {"mse": _whole(each.client), "wlc": _whole(each.server)} for each in exchanges_in(folder / "scoring.pcapng")
    ]
    rows = [json.loads(line) for line in (folder / "scoring.frames.jsonl").read_text().splitlines()]
    figures = score(json.loads((folder / "truth.json").read_text()), found.layout, streams, rows)
    return {**figures, "infer_s": took}


def table_of(measured: dict[int, dict[str, float]]) -> list[str]:
    """Lines: each seed's figures, their means, the worst, and what is to be reached."""
    names = [*HEADS]
    lines = ["| layout | " + " | ".join(HEADS.values()) + " |", "| --- |" + " ---: |" * len(names)]

    def line(head: str, values: Iterable[float | None]) -> None:
        lines.append(f"| {head} | " + " | ".join("" if value is None else f"{value:.3f}" for value in values) + " |")

    for seed, figures in measured.items():
        line(str(seed), (figures[name] for name in names))
    columns: Sequence[list[float]] = [[figures[name] for figures in measured.values()] for name in names]
    worse: Callable[[str], Callable[[list[float]], float]] = lambda name: max if name == "infer_s" else min  # noqa: E731
    line("mean", (sum(column) / len(column) for column in columns))
    line("worst", (worse(name)(column) for name, column in zip(names, columns, strict=True)))
    line("to reach, mean", (FIGURES.get(name) for name in names))
    line("to reach, worst", (_WORST.get(name) for name in names))
    return lines


def bench(seeds: Sequence[int], say: Callable[[str], None]) -> dict[int, dict[str, float]]:
    """Make, infer and score the devices of these seeds."""
    measured = {}
    for seed in seeds:
        with TemporaryDirectory() as name:
            folder = Path(name)
            make_files(seed, folder)
            measured[seed] = measure(folder)
        say(f"layout {seed}: " + ", ".join(f"{HEADS[key]} {measured[seed][key]:.3f}" for key in HEADS))
    return measured
