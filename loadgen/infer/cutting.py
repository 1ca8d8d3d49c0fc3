"""Frames cut out of all that was captured, also behind holes and where a capture begins in the middle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from loadgen.capture.streams import Exchange
from loadgen.infer.frames import Frame
from loadgen.infer.framing import FrameCut, Run, fitting_runs

__all__ = ["Cut", "cut_frames"]

# So many frames in a row have to fit, for a place to be where one begins.
_IN_A_ROW = 4
# A byte of the header that has had no more values than this tells frames from other bytes.
_FEW_VALUES = 24
# Bytes at the beginnings of frames that are learnt, of so many frames of a run; values that came so often are known.
_HEAD = 40
_LEARNT = 20_000
_OFTEN = 20
_FEW_RARE = 4
# Looked at for a new beginning at once; in the rest of a run, again.
_WINDOW = 1 << 18


@dataclass(slots=True)
class Cut:
    """What came of cutting."""

    frames: list[Frame] = field(default_factory=list)  # by session, the client's first, in their order
    left_out: int = 0  # bytes that belong to no whole frame
    found_again: int = 0  # places where frames were found again behind a hole, or in the middle
    lost: int = 0  # runs, or rests of runs, in which none was found again


def cut_frames(exchanges: Sequence[Exchange], runs: Sequence[Run], framing: FrameCut) -> Cut:
    """All frames that there are for certain."""
    known = _Known(framing, runs)
    streams = {
        (exchange.conversation.index, of_client): stream
        for exchange in exchanges
        for of_client, stream in ((True, exchange.client), (False, exchange.server))
    }
    cut = Cut()
    for number, run in enumerate(runs):
        stream = streams[run.session, run.of_client]
        for start, end in _of_run(run, framing, known, cut, number in known.fitting):
            ns = stream.came_ns(run.offset + end - 1)
            cut.frames.append(Frame(run.session, run.of_client, run.offset + start, ns, run.data[start:end]))
    return cut


def _of_run(run: Run, framing: FrameCut, known: _Known, cut: Cut, fits: bool) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    at = 0
    if not fits:
        at = _again(run, known, 0, cut)
    while at >= 0:
        part = framing.cut(run.data, at)
        stopped = part[-1][1] if part else at
        size = framing.frame_size(run.data, stopped)
        broken = len(run.data) - stopped >= known.head and (size is None or run.ended)
        # Where a run of frames breaks, the last of them may be none: what looks like none is not taken.
        while broken and part and not known.is_frame(run.data, part[-1][0]):
            part.pop()
        found += part
        if not broken:
            break
        at = _again(run, known, max(stopped, at + 1), cut)
    cut.left_out += len(run.data) - sum(end - start for start, end in found)
    return found


def _again(run: Run, known: _Known, start: int, cut: Cut) -> int:
    at = known.next_frame(run.data, start)
    if at >= 0:
        cut.found_again += 1
    elif start < len(run.data):
        cut.lost += 1
    return at


class _Known:
    """What the beginnings of frames look like, learnt from streams that were there from their beginning."""

    def __init__(self, framing: FrameCut, runs: Sequence[Run]) -> None:
        self._framing = framing
        heads: list[bytes] = []
        sizes: list[int] = []
        sessions: list[int] = []
        self.fitting = fitting_runs(runs, framing)
        for number in sorted(self.fitting):
            run = runs[number]
            for start, end in framing.cut(run.data)[:_LEARNT]:
                heads.append(run.data[start : start + _HEAD])
                sizes.append(end - start)
                sessions.append(run.session)
        self.head = framing.at + framing.size
        self._few: list[tuple[int, NDArray[np.bool_]]] = []
        if not heads:
            return
        of_session = np.array(sessions, np.int64)
        often = _often(np.array(sizes, np.int64), of_session)
        self.head = width = max(self.head, min(_HEAD, min(often, default=0)))
        chosen = [number for number, head in enumerate(heads) if len(head) >= width]
        table = np.frombuffer(b"".join(heads[number][:width] for number in chosen), np.uint8)
        table = table.reshape(len(chosen), width)
        for column in range(width):
            if framing.at <= column < framing.at + framing.size:
                continue
            values = table[:, column]
            known = _often(values, of_session[chosen])
            rare = len(np.unique(values)) - len(known)
            if known and len(known) <= _FEW_VALUES and rare <= _FEW_RARE:
                common = np.zeros(256, bool)
                common[sorted(known)] = True
                self._few.append((column, common))

    def is_frame(self, data: bytes, start: int) -> bool:
        """Whether one may begin there."""
        if start + self.head > len(data):
            return False
        return all(common[data[start + column]] for column, common in self._few)

    def next_frame(self, data: bytes, start: int) -> int:
        """Where the next frame begins for certain; -1: nowhere."""
        while start < len(data):
            part = data[start : start + _WINDOW]
            at = self._in_window(part, len(part) + start == len(data))
            if at >= 0:
                return start + at
            start += max(len(part) - (_WINDOW >> 2), 1) if len(part) == _WINDOW else len(part)
        return -1

    def _in_window(self, part: bytes, last: bool) -> int:
        framing = self._framing
        raw = np.frombuffer(part, np.uint8)
        n = len(raw) - self.head + 1
        if n < 1 or len(self._few) < 2:
            return -1
        fits = np.ones(n, bool)
        for column, common in self._few:
            fits &= common[raw[column : column + n]]
        places = np.flatnonzero(fits)
        value = np.zeros(len(places), np.int64)
        for step in range(framing.size):
            shift = 8 * (framing.size - 1 - step if framing.order == "big" else step)
            value += raw[places + framing.at + step].astype(np.int64) << shift
        size = value * framing.unit + framing.add
        following = np.full(len(part) + 1, -1, np.int64)
        good = (size >= framing.at + framing.size) & (places + size <= len(part))
        following[places[good]] = (places + size)[good]
        # In a row: each one's end is where another begins; a stream's end is as good as all that are missing.
        chain = places[good]
        at = chain
        row = np.zeros(len(chain), np.int64)
        running = np.ones(len(chain), bool)
        for _ in range(_IN_A_ROW):
            step_to = np.where(running, following[np.minimum(at, len(part))], -1)
            running &= step_to >= 0
            row += running
            at = np.where(running, step_to, at)
            if last:
                done = running & (at == len(part)) & (row >= 2)
                row[done] = _IN_A_ROW
        sure = chain[row >= _IN_A_ROW]
        return int(sure[0]) if len(sure) else -1


def _often(values: NDArray[np.integer], sessions: NDArray[np.int64]) -> set[int]:
    """Values that came often, or in several sessions: others may come of a stream that was cut wrong."""
    several = len(np.unique(sessions)) > 1
    found, counts = np.unique(values, return_counts=True)
    known = set(found[counts >= (_OFTEN if several else 1)].tolist())
    for value in found[counts < _OFTEN].tolist() if several else ():
        if len(np.unique(sessions[values == value])) > 1:
            known.add(value)
    return known
