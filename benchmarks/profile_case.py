"""What a layout costs beside the reference profile: the codec's pieces alone, and whole processes over TLS."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

from benchmarks import processes
from benchmarks.cases import Case, Figures, Measure, Measured, Row, median, notify_figures, shown_ratio
from benchmarks.profiles import OTHERS, RECEIVING, SENDING, TERN
from loadgen.nmsp.profile import load_profile, reference_profile

_REFERENCE, _PIECES = "reference", "pieces"
_WHAT = {
    TERN: "a very different table",
    "fixed": "fixed places, without sequence and times",
    "sealed": "fixed places, with device time and CRC-32",
    "elements": "elements in varying order, four stations with nested readings",
}
# Of what the reference profile does, in stations per CPU-second.
_SENDING_AT_LEAST = {"fixed": 1.0, "sealed": 0.6, "elements": 0.25}
_RECEIVING_AT_LEAST = {"fixed": 1.0, "sealed": 0.5, "elements": 0.2}
_LOAD_S = 3
_TERN_AT_LEAST = 0.9


def _variants(_: None) -> dict[str, Measure]:
    paths: dict[str, Path | None] = {_REFERENCE: None, **OTHERS}
    return {
        _PIECES: lambda: processes.script("benchmarks.profiles"),
        **{name: lambda path=path: _whole(path) for name, path in paths.items()},  # type: ignore[misc]
    }


def _whole(path: Path | None) -> Figures:
    """Both sides of a load that neither side can keep up with, per station. Args: path: None: the reference profile."""
    options = ["--set", f'load.stages=[{{hold="{_LOAD_S}s"}}]']
    if path is not None:
        options += ["--set", f"profile={path}"]
    figures = notify_figures(processes.loadgen_both("notifications", *options))
    stations = (reference_profile() if path is None else load_profile(path)).stations
    return {
        **figures,
        "sending_ns": figures["wlc_cpu_ns"] / stations,
        "receiving_ns": figures["mse_cpu_ns"] / stations,
    }


def _rows(measured: Measured) -> list[Row]:
    return [*_whole_rows(measured), *_piece_rows(measured[_PIECES])]


def _whole_rows(measured: Measured) -> list[Row]:
    found, reference = [], measured[_REFERENCE]
    for what, side, least in (("sending", "WLC", _SENDING_AT_LEAST), ("receiving", "MSE", _RECEIVING_AT_LEAST)):
        for name, words in _WHAT.items():
            theirs = measured[name]
            values = [
                before[f"{what}_ns"] / after[f"{what}_ns"] for before, after in zip(reference, theirs, strict=True)
            ]
            found.append(
                _row(
                    f"{what}, stations per CPU-second of the {side} worker, TLS: {words}",
                    (median(theirs, f"{what}_ns"), median(reference, f"{what}_ns")),
                    values,
                    least.get(name),
                    f"{median(theirs, 'per_write'):.0f} frames per write; lost {median(theirs, 'lost'):.0f}",
                )
            )
    return found


def _piece_rows(pieces: Sequence[Figures]) -> list[Row]:
    found = []
    names = [key.removesuffix(f", {_REFERENCE} ns") for key in pieces[0] if key.endswith(f", {_REFERENCE} ns")]
    for piece in names:
        for name, words in _WHAT.items():
            least = {SENDING: _SENDING_AT_LEAST, RECEIVING: _RECEIVING_AT_LEAST}.get(piece, {}).get(name)
            found.append(
                _row(
                    f"the codec alone, {piece}, stations per CPU-second: {words}",
                    (median(pieces, f"{piece}, {name} ns"), median(pieces, f"{piece}, {_REFERENCE} ns")),
                    [1 / figures[f"{piece}, {name} ratio"] for figures in pieces],
                    _TERN_AT_LEAST if name == TERN else least,
                )
            )
    return found


def _row(label: str, costs_ns: tuple[float, float], ratios: list[float], least: float | None, note: str = "") -> Row:
    ours, theirs = (f"{1e9 / cost:,.0f} ({cost:,.0f} ns)" for cost in costs_ns)
    met = None if least is None else statistics.median(ratios) >= least
    target = "" if least is None else f"≥ {least:g} x"
    return Row(label, ours, "the reference profile", theirs, shown_ratio(ratios), target, met, note)


CASE = Case("profile", 5, nullcontext, _variants, _rows)
