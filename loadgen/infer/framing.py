"""Where frames begin and end: the one way to read a length that cuts all streams to their ends.

Every place, width, order, unit and addend is tried on the beginnings of some streams, all of them at once; what is left
is tried on more. What decides is what a capture has of itself: streams that were closed end with a frame, and what
comes after silence begins with one. That is a hint and no proof, as packets are cut where TCP likes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from loadgen.capture.events import How
from loadgen.capture.streams import Exchange, Stream

__all__ = ["FrameCut", "Run", "find_framing", "fitting_runs", "runs_of"]

Order = Literal["big", "little"]
Int64s = NDArray[np.int64]

# A longer frame is no frame: as `max_frame_bytes` of profiles, with room.
LARGEST = 1 << 17
# What comes so long after what came before begins with a frame, nearly always.
_SILENCE_NS = 10_000_000
_FEW_MARKS = 12
# Where a length may lie, and what a frame may have besides what its length counts.
_PLACES = 32
_ADDENDS = range(-8, 81)
_UNITS = (1, 2, 4, 8)
_FORMATS: tuple[tuple[int, Order], ...] = ((1, "big"), (2, "big"), (2, "little"), (4, "big"), (4, "little"))
# Rounds of the search: (runs, bytes of each, steps in each, candidates that stay).
_ROUNDS = ((6, 2048, 150, 3000), (24, 16384, 600, 300), (60, 65536, 2000, 120))
_BEYOND = 1 << 40
_NEARLY = 0.4
_AS_USUAL = 0.97


@dataclass(frozen=True, slots=True)
class Run:
    """Bytes of one direction without a hole between them."""

    session: int
    of_client: bool
    offset: int  # of the first byte in its direction's stream
    data: bytes
    begins: bool  # it is the first one of its stream
    ended: bool  # its stream was closed right behind it, in order
    marks: tuple[int, ...]  # where in `data` a packet begins that came after silence


@dataclass(frozen=True, slots=True)
class FrameCut:
    """Whole frame = length * unit + add, in bytes. at: of the length, from the frame's first byte."""

    at: int
    size: int
    order: Order
    unit: int
    add: int

    def frame_size(self, data: bytes, start: int) -> int | None:
        """That of the frame which begins there; None: there is no length any more, or it makes no sense."""
        raw = data[start + self.at : start + self.at + self.size]
        if len(raw) < self.size:
            return None
        size = int.from_bytes(raw, self.order) * self.unit + self.add
        return size if self.at + self.size <= size <= LARGEST else None

    def cut(self, data: bytes, start: int = 0) -> list[tuple[int, int]]:
        """The whole frames from a place on, side by side: (start, end) of each."""
        found = []
        while (size := self.frame_size(data, start)) is not None and start + size <= len(data):
            found.append((start, start + size))
            start += size
        return found


def runs_of(exchanges: Sequence[Exchange]) -> list[Run]:
    """What there is of all directions of all sessions."""
    found = []
    for exchange in exchanges:
        for of_client, stream in ((True, exchange.client), (False, exchange.server)):
            found += _runs_of_stream(exchange.conversation.index, of_client, stream)
    return found


def _runs_of_stream(session: int, of_client: bool, stream: Stream) -> list[Run]:
    pieces = stream.pieces()
    quiet = [pieces[0][0]] if pieces else []
    quiet += [offset for (_, before), (offset, ns) in pairwise(pieces) if ns - before >= _SILENCE_NS]
    if len(quiet) < 3:
        quiet = [offset for offset, _ in pieces]
    marks = np.array(quiet, np.int64)
    found = []
    for number, (offset, data) in enumerate(stream.runs):
        end = offset + len(data)
        inside = marks[(marks >= offset) & (marks < end)] - offset
        last = number + 1 == len(stream.runs) and not any(at >= end for at, _ in stream.holes)
        ended = last and stream.ended is How.FIN
        found.append(Run(session, of_client, offset, bytes(data), number == 0, ended, tuple(inside.tolist())))
    return found


# -- the search --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Trial:
    """A part of a run on which candidates are tried: from where a frame is thought to begin."""

    data: bytes
    whole: bool  # its end is where a frame ends
    marks: tuple[int, ...]


@dataclass(slots=True)
class _Candidates:
    """Ways to read a length, as columns."""

    format: Int64s
    at: Int64s
    unit: Int64s
    add: Int64s

    def kept(self, which: Int64s) -> _Candidates:
        return _Candidates(self.format[which], self.at[which], self.unit[which], self.add[which])

    def framing(self, index: int) -> FrameCut:
        size, order = _FORMATS[int(self.format[index])]
        return FrameCut(int(self.at[index]), size, order, int(self.unit[index]), int(self.add[index]))


def _all_candidates() -> _Candidates:
    grid = np.meshgrid(
        np.arange(len(_FORMATS)), np.arange(_PLACES), np.array(_UNITS), np.array(_ADDENDS), indexing="ij"
    )
    form, at, unit, add = (part.ravel().astype(np.int64) for part in grid)
    return _Candidates(form, at, unit, add)


def _values(data: bytes) -> Int64s:
    """What each format reads at each place: one row for each; what there is not is beyond every size."""
    raw = np.frombuffer(data, np.uint8).astype(np.int64)
    n = len(raw)
    found = np.full((len(_FORMATS), n + _PLACES + 1), _BEYOND, np.int64)
    for row, (size, order) in enumerate(_FORMATS):
        if n < size:
            continue
        total = np.zeros(n - size + 1, np.int64)
        for step in range(size):
            shift = 8 * (size - 1 - step if order == "big" else step)
            total += raw[step : n - size + 1 + step] << shift
        found[row, : len(total)] = total
    return found


def _walked(candidates: _Candidates, trial: _Trial, limit: int, steps: int) -> tuple[Int64s, Int64s, NDArray[np.bool_]]:
    """How far each candidate comes, how many marks it meets, and whether it ended where a frame has to."""
    data, end = trial.data, min(limit, len(trial.data))
    values = _values(data)
    marked = np.zeros(len(data) + 1, np.int64)
    marked[list(trial.marks)] = 1
    sizes = np.array([size for size, _ in _FORMATS], np.int64)
    least = candidates.at + sizes[candidates.format]
    count = len(candidates.at)
    position, met = np.zeros(count, np.int64), np.zeros(count, np.int64)
    fits = np.ones(count, bool)
    alive = np.arange(count)
    for _ in range(steps):
        here = position[alive]
        met[alive] += marked[here]
        size = values[candidates.format[alive], here + candidates.at[alive]] * candidates.unit[alive]
        size += candidates.add[alive]
        following = here + size
        absurd = (size < least[alive]) | ((size > LARGEST) & (here + least[alive] <= len(data)))
        beyond = following > len(data)
        # A stream that was not closed may end inside of a frame.
        fits[alive[absurd | (beyond & trial.whole)]] = False
        on = ~absurd & ~beyond
        alive, following = alive[on], following[on]
        position[alive] = following
        alive = alive[following < end]
        if not len(alive):
            break
    return position, met, fits


def _judged(candidates: _Candidates, trials: Sequence[_Trial], limit: int, steps: int) -> NDArray[np.float64]:
    """How well each candidate fits: 0 to 3."""
    count = len(candidates.at)
    covered, total = np.zeros(count), 0.0
    met, to_meet = np.zeros(count), np.zeros(count)
    right, ends = np.zeros(count), 0.0
    for trial in trials:
        position, hits, fits = _walked(candidates, trial, limit, steps)
        reach = min(limit, len(trial.data))
        share = np.minimum(position / reach, 1.0)
        # Small steps are not held against a candidate that ran out of them.
        covered += np.where(fits, np.maximum(share, 0.9), share * 0.5)
        total += 1
        met += hits
        marks = np.array(sorted(trial.marks), np.int64)
        to_meet += np.maximum(np.searchsorted(marks, np.where(fits, position, reach), "left"), 1)
        right += fits
        ends += 1
    if not ends:
        return np.zeros(count)
    score: NDArray[np.float64] = covered / total + np.minimum(met / to_meet, 1.0) + right / ends
    return score


def _trials(runs: Sequence[Run]) -> list[_Trial]:
    """Parts of runs, most telling first: streams that are whole and short, of both ends by turns."""
    found: dict[bool, list[_Trial]] = {True: [], False: []}
    for run in sorted(runs, key=lambda run: (not run.ended, not run.begins, len(run.data))):
        if len(run.data) < 4:
            continue
        if run.begins:
            found[run.of_client].append(_Trial(run.data, run.ended, run.marks))
    for run in sorted(runs, key=lambda run: -len(run.marks))[:8]:
        # A capture may begin inside of a frame: then frames begin where silence ended.
        if len(run.marks) > 4:
            start = run.marks[2]
            marks = tuple(mark - start for mark in run.marks[2:])
            found[run.of_client].append(_Trial(run.data[start:], run.ended, marks))
    by_turns = []
    for number in range(max(map(len, found.values()))):
        by_turns += [trials[number] for trials in found.values() if number < len(trials)]
    return by_turns


def find_framing(runs: Sequence[Run]) -> list[tuple[FrameCut, float]]:
    """Ways to cut all streams into frames, the best first, each with how well it fits (0 to 3).

    Those that cut everything alike are given once, with the narrowest length of them. Nothing: no way was found.
    """
    trials = _trials(runs)
    if not trials:
        return []
    candidates = _all_candidates()
    score = np.zeros(len(candidates.at))
    for many, limit, steps, stay in _ROUNDS:
        score = _judged(candidates, trials[:many], limit, steps)
        # Equal ones in the order of the table: the choice is the same each time.
        best = np.argsort(-score, kind="stable")[:stay]
        candidates, score = candidates.kept(best), score[best]
    found = _apart(candidates, score, trials)
    # What is alike at the beginnings may be too narrow for a longer frame, further on.
    apart: dict[tuple[object, ...], tuple[FrameCut, float]] = {}
    for framing, value in [(_widened(framing, runs), value) for framing, value in found[:8]]:
        fit = sorted(fitting_runs(runs, framing))
        key = (*fit, *(tuple(framing.cut(runs[number].data[:8192])) for number in fit[:12]))
        known = apart.get(key)
        if known is None:
            apart[key] = framing, value
        elif (framing.size, framing.at) < (known[0].size, known[0].at):
            apart[key] = framing, known[1]
    return [*apart.values()]


def _widened(framing: FrameCut, runs: Sequence[Run]) -> FrameCut:
    """The narrowest length with the same lowest byte that cuts most of all the runs."""
    if framing.size > 1:
        orders: tuple[Order, ...] = (framing.order,)
    else:
        orders = ("big", "little")
    ways = [framing]
    for order in orders:
        for size in (2, 4):
            at = framing.at if order == "little" else framing.at + framing.size - size
            if size > framing.size and at >= 0:
                ways.append(FrameCut(at, size, order, framing.unit, framing.add))
    fit = [len(fitting_runs(runs, way)) for way in ways]
    return ways[fit.index(max(fit))]


def fitting_runs(runs: Sequence[Run], framing: FrameCut) -> set[int]:
    """Runs that, cut from their beginnings, come to their ends, and have frames begin where silence ended.

    As often as in most runs: one that began in the middle may be cut right from somewhere on, by chance.
    """
    shares: dict[int, float] = {}
    for number, run in enumerate(runs):
        frames = framing.cut(run.data) if run.begins else []
        end = frames[-1][1] if frames else 0
        size = framing.frame_size(run.data, end)
        stopped = size is None and end + framing.at + framing.size <= len(run.data)
        if frames and not stopped and (end == len(run.data) or not run.ended):
            marks = set(run.marks)
            starts = {start for start, _ in frames} | {end}
            # What began in the middle is soon cut right by chance: the first marks tell.
            if len(starts.intersection(run.marks[1:4])) + 1 >= len(run.marks[1:4]):
                shares[number] = len(marks & starts) / max(len(marks), 1)
    usual = float(np.median([*shares.values()])) if shares else 0.0
    return {number for number, share in shares.items() if share >= _AS_USUAL * usual}


def _apart(
    candidates: _Candidates, score: NDArray[np.float64], trials: Sequence[_Trial]
) -> list[tuple[FrameCut, float]]:
    """Those that differ in what they cut, by how well they fit, and by how alike the beginnings of their frames are."""
    found: dict[tuple[tuple[int, int], ...], tuple[FrameCut, float]] = {}
    for index in range(len(score)):
        if score[index] < score[0] - 0.5:
            break
        framing = candidates.framing(index)
        cuts: list[tuple[int, int]] = []
        heads: list[bytes] = []
        for number, trial in enumerate(trials[:12]):
            part = trial.data[:8192]
            frames = framing.cut(part)
            cuts += [(number, start) for start, _ in frames]
            heads += [part[start : start + 12] for start, _ in frames if start + 12 <= len(part)]
        if not cuts:
            continue
        key = tuple(cuts)
        known = found.get(key)
        value = float(score[index]) - 0.5 * _disorder(heads)
        if known is None or (framing.size, framing.at) < (known[0].size, known[0].at):
            found[key] = framing, value
    order = sorted(found, key=lambda key: (-found[key][1], found[key][0].size, found[key][0].at, found[key][0].add))
    for number in range(1, len(order)):
        # A constant in front that reads as a length cuts every frame in two: fewer cuts that do as well are right.
        # Not each one need be among those, as a stream that begins in the middle is cut wrong by both.
        first, other = order[0], order[number]
        worse = found[first][1] - found[other][1]
        shared = len(set(other).intersection(first))
        if worse < _NEARLY and 5 * len(other) < 4 * len(first) and 5 * shared >= 4 * len(other):
            order.insert(0, order.pop(number))
    return [found[key] for key in order]


def _disorder(heads: Sequence[bytes]) -> float:
    """How unlike the first bytes of frames are, in bits for each bit: headers are alike."""
    if len(heads) < 2:
        return 1.0
    table = np.frombuffer(b"".join(heads), np.uint8).reshape(len(heads), 12)
    bits = 0.0
    for column in table.T:
        share = np.bincount(column, minlength=256) / len(heads)
        share = share[share > 0]
        bits -= float((share * np.log2(share)).sum())
    return bits / (12 * min(8.0, float(np.log2(len(heads)))))
