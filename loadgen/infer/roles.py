"""What a field is for, by what its values do: the role, how sure that is, and the evidence in a sentence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from loadgen.infer.addresses import may_be_mac
from loadgen.infer.samples import Context, Table
from loadgen.infer.tiling import CHANNELS, Piece, could_be_mask

__all__ = ["UNSIGNED", "FieldVerdict", "heard", "judge"]

Signed = NDArray[np.int64]
# How the evidence of levels without a sign ends.
UNSIGNED = "told without the sign"
# What is below this is no level in tenths of a dBm.
_TENTHS = -1100
# RSSI without its sign is no less.
_FAINT = 20


@dataclass(frozen=True, slots=True)
class FieldVerdict:
    role: str
    type: str
    confidence: float  # 0 to 1
    evidence: str


def _signed(values: NDArray[np.uint64], size: int) -> Signed:
    shift = np.int64(64 - 8 * size)
    out: Signed = values.view(np.int64) << shift >> shift
    return out


def _steps(table: Table, values: Signed, name: str) -> Signed:
    order, first = table.groupings[name]
    ordered = values[order]
    out: Signed = (ordered[1:] - ordered[:-1])[~first[1:]]
    return out


def _is_mask(table: Table, values: NDArray[np.uint64], size: int, context: Context) -> str | None:
    if size not in (4, 8):
        return None
    if not could_be_mask(values, context):
        return None
    if not context.of_subservices:
        return None
    return "bits among those that are offered" if context.masks else "bits 0 to 22 in a message about subservices"


def _sequence(table: Table, values: Signed) -> tuple[str, float, str] | None:
    """Numbers that go on in their session, or device by device."""
    for name in ("session", "device", "pair", "two devices", "group"):
        if name not in table.groupings:
            continue
        steps = _steps(table, values, name)
        if len(steps) < 3 or (steps < 0).mean() > 0.02 or (steps > 0).mean() < 0.5:
            continue
        if name == "session" and (steps == 0).mean() < 0.02:
            step, times = max(zip(*np.unique(steps, return_counts=True), strict=True), key=lambda pair: pair[1])
            if times >= 0.5 * len(steps) and step <= 4:
                return "sequence", 0.95, f"one more each time in its session ({times} of {len(steps)} steps)"
        if name == "session" and len(np.unique(values)) * 3 < len(values):
            continue
        where = "in its session" if name == "session" else "for the same device"
        return "counter", 0.85, f"never goes back {where} ({len(steps)} steps)"
    return None


def _is_age(table: Table, values: Signed) -> str | None:
    """Ages grow as time goes on, as long as nothing new is heard."""
    for name in ("pair", "two devices", "device"):
        if name not in table.groupings:
            continue
        order, first = table.groupings[name]
        steps = _steps(table, values, name)
        passed = (table.ns[order][1:] - table.ns[order][:-1])[~first[1:]]
        for unit in (1_000_000_000, 1_000_000):
            whole = passed // unit
            later = whole >= 2
            if later.sum() >= 8:
                same = (np.abs(steps[later] - whole[later]) <= 1 + whole[later] // 100).mean()
                if same >= 0.3:
                    return f"grows as time passes for the same device ({same:.0%} of {int(later.sum())} steps)"
    return None


def _loudness(values: Signed, distinct: int) -> tuple[str, float, str] | None:
    """Levels in dBm, or in tenths of one; zeros, and what stands for none, may be among them."""
    low, high = int(values.min()), int(values.max())
    nothing = (values == 0) | (values == -128) | (values == 127)
    level, unit = values[~nothing], "dBm"
    if len(level) and _TENTHS <= np.median(level) < -110:
        nothing, level, unit = values == 0, values[values != 0], "tenths of a dBm"
        distinct = len(np.unique(level // 10))
        level = level / 10
    # Where most are nothing, there have to be several different ones that are not.
    least = 3 if len(level) * 2 >= len(values) else 8
    inside = (level >= -100) & (level <= -15)
    if not len(level) or nothing.sum() + inside.sum() < 0.97 * len(values) or inside.mean() < 0.8 or distinct < least:
        return None
    level = level[inside]
    if level.mean() < -84 and level.max() <= -75:
        return "noise", 0.7, f"{low} to {high}, as noise in {unit} is"
    return "rssi", min(0.95, 0.6 + distinct / 40), f"{low} to {high}, as RSSI in {unit} is"


def heard(
    table: Table, pieces: Sequence[Piece], verdicts: Sequence[FieldVerdict], context: Context
) -> tuple[list[FieldVerdict], Signed | None]:
    """What is said of fields, with RSSI and noise that are told without their sign, and RSSI of all rows in dBm; None:
    there is none.

    Beside a device's address, in a measurement that has no levels below zero, or in any message where measurements tell
    them so, a number from 20 to 105 that takes many values, and none that is lower, is one."""
    out = list(verdicts)
    for piece, verdict in zip(pieces, out, strict=True):
        if verdict.role == "rssi":
            return out, _signed(table.numbers(piece.at, piece.size, piece.order), piece.size)
    about_device = any(piece.kind == "mac" for piece in pieces)
    measured = context.unsigned or _is_measured(context)
    if not about_device or not measured or any(verdict.role == "noise" for verdict in out):
        return out, None
    levels = {}
    for index, (piece, verdict) in enumerate(zip(pieces, out, strict=True)):
        if piece.kind == "integer" and piece.size <= 2 and verdict.role in ("number", "age", "enum"):
            values = table.numbers(piece.at, piece.size, piece.order).astype(np.int64)
            found = _loudness(-values, len(np.unique(values)))
            if found is not None and int(values.min()) >= _FAINT:
                levels[index] = found, values
    loud = [index for index, (found, values) in levels.items() if found[0] == "rssi" and _is_wide(values)]
    if not loud:
        return out, None
    # SNR is lower, as noise is lower than RSSI.
    best = max(loud, key=lambda index: levels[index][1].mean())
    for index, (found, _) in levels.items():
        if index == best or found[0] == "noise":
            role, confidence, evidence = found
            out[index] = FieldVerdict(role, out[index].type, 0.8 * confidence, f"{evidence}, {UNSIGNED}")
    return out, -levels[best][1]


def _is_wide(values: Signed) -> bool:
    return bool(len(np.unique(values)) > 9 and np.ptp(values) > 14 and values.mean() > 45)


def _is_measured(context: Context) -> bool:
    return context.name is None or context.name.startswith(("measurement", "on_demand"))


def judge(table: Table, piece: Piece, context: Context, loud: Signed | None = None) -> FieldVerdict:
    """The verdict on a field. `loud`: RSSI of the same rows, where that is known."""
    n, size = len(table), piece.size
    sure = n / (n + 6.0)
    if piece.kind == "constant":
        cells = table.cells[0, piece.at : piece.at + size]
        if size == 6 and may_be_mac(cells.tobytes()):
            evidence = f"{cells.tobytes().hex()} in all {n}, as an address of one device is"
            return FieldVerdict("mac", "mac", 0.6 * sure, evidence)
        role = "constant" if cells.any() else "padding"
        kind = f"u{8 * size}" if size in (1, 2, 4, 8) and cells.any() else "bytes" if cells.any() else "pad"
        return FieldVerdict(role, kind, sure, f"{cells.tobytes().hex()} in all {n}")
    different = table.joined(piece.at, size)[1]
    if piece.kind in ("count", "length"):
        what = "records" if piece.kind == "count" else "bytes"
        return FieldVerdict(piece.kind, f"u{8 * size}", max(sure, 0.8), f"the number of {what} that follow, in all {n}")
    if piece.kind == "mask":
        evidence = f"{different} different, each bits of what is offered, and granted as it was asked for"
        return FieldVerdict("mask", f"u{8 * size}", max(sure, 0.8), evidence)
    if piece.kind == "mac":
        rows = {row.tobytes() for row in np.unique(table.cells[:, piece.at : piece.at + 6], axis=0)}
        known = sum(row in context.macs for row in rows)
        evidence = f"{len(rows)} addresses of {len({row[:3] for row in rows})} makers, {known} known from elsewhere"
        return FieldVerdict("mac", "mac", max(sure, 0.95 if known * 2 >= len(rows) else 0.0), evidence)
    if piece.kind == "ipv4":
        return FieldVerdict("ipv4", "ipv4", 0.9 * sure, f"{different} addresses of private networks")
    if piece.kind == "text":
        return FieldVerdict("text", "text", max(sure, 0.8), f"printable, {different} different, filled up with NULs")
    if piece.kind == "opaque":
        return FieldVerdict(
            "unknown", "bytes", 0.3 * sure, f"{different} different of {n}, and nothing that explains them"
        )
    return _number(table, piece, context, loud, different)


def _number(table: Table, piece: Piece, context: Context, loud: Signed | None, different: int) -> FieldVerdict:
    n, size = len(table), piece.size
    sure = n / (n + 6.0)
    values = table.numbers(piece.at, size, piece.order)
    signed = _signed(values, size)
    kind, low, high = f"u{8 * size}", int(values.min()), int(values.max())
    asked = [(a, int(b)) for a, b in zip(table.transactions, values, strict=True) if a is not None]
    if len(asked) * 2 > n and different > 1 and all(a == b for a, b in asked):
        return FieldVerdict("transaction", kind, sure, f"the header's transaction in all {len(asked)}")
    if piece.clock is not None:
        since = "since 1970" if piece.clock.epoch else "of its own"
        how = "advances with the capture" if piece.clock.good else "lies near the capture"
        return FieldVerdict(
            "timestamp", kind, sure if piece.clock.good else 0.85 * sure, f"{piece.clock.unit} {since}, {how}"
        )
    if why := _is_mask(table, values, size, context):
        return FieldVerdict("mask", kind, 0.9, why)
    if size <= 4 and (level := _loudness(signed, different)) is not None:
        role, confidence, evidence = level
        return FieldVerdict(role, f"i{8 * size}", confidence * max(sure, 0.5), evidence)
    if size >= 2 and different > 2 and (goes_on := _sequence(table, signed)) is not None:
        role, confidence, evidence = goes_on
        if context.within:
            role = "counter"  # of records; what a session counts stands once in a message
        return FieldVerdict(role, kind, confidence * sure, evidence)
    if (
        signed.min() < 0
        and size <= 4
        and abs(int(signed.min())) < 1 << 8 * size - 2
        and signed.max() < 1 << 8 * size - 2
    ):
        kind, low, high = f"i{8 * size}", int(signed.min()), int(signed.max())
    if different <= 2 or (different <= 16 and size <= 2 and (different * 4 <= n or high < 32)):
        return FieldVerdict("enum", kind, 0.7 * sure, f"{different} values in {n}: {low} to {high}")
    if (
        size == 1
        and different <= 32
        and different * 2 <= n
        and set(np.unique(values).tolist()) <= CHANNELS
        and high > 11
    ):
        return FieldVerdict("enum", kind, 0.7 * sure, "all of them numbers of channels")
    if loud is not None and size <= 4 and signed.min() >= 0 and 10 <= signed.max() <= 100 and different > 4:
        together = float(np.corrcoef(loud.astype(float), signed.astype(float))[0, 1]) if np.ptp(loud) else 0.0
        if together > 0.5:
            return FieldVerdict("snr", f"i{8 * size}", 0.8 * sure, f"goes with RSSI (correlation {together:.2f})")
    if size >= 2 and (why := _is_age(table, signed)):
        return FieldVerdict("age", kind, 0.8 * sure, why)
    if size == 2 and high > 60_000 and low < 5_000 and different * 5 > min(n, 40_000) * 4 and n > 30:
        return FieldVerdict(
            "unknown", "bytes", 0.3 * sure, f"{different} different in {n}, anything from {low} to {high}"
        )
    if (
        _is_measured(context)
        and loud is not None
        and different > 8
        and low * 4 < high
        and (size > 1 or high > 100)
        and high < 1 << 20
    ):
        return FieldVerdict("age", kind, 0.4 * sure, f"{low} to {high} beside an RSSI, up and down")
    evidence = f"{different} different in {n}, {low} to {high}"
    # As if thrown with dice: the highest byte takes all values alike.
    top = values >> np.uint64(8 * size - 8)
    if size >= 4 and different == n and n > 7 and int(np.ptp(top)) > 190:
        return FieldVerdict("unknown", "bytes", 0.3 * sure, f"{evidence}, at random")
    return FieldVerdict("number" if n >= 4 else "unknown", kind, 0.5 * sure, evidence)
