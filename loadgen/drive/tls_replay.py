"""The WLC side of a worker whose controllers say what was recorded, over TLS."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from loadgen.drive.controllers import Telling, make_replayers
from loadgen.drive.equipment import Equipment
from loadgen.drive.ring_table import ReplaySingles
from loadgen.drive.tls_accept import WlcLink
from loadgen.drive.tls_wlc import WlcShard
from loadgen.nmsp.bulk import MAX_WRITE_BYTES
from loadgen.nmsp.catalogue import CATALOGUE
from loadgen.nmsp.dialogue import Saying
from loadgen.nmsp.ring import Timing
from loadgen.replay.answers import RecordedAnswers

_KINDS = {kind.label: kind for kind in CATALOGUE}


class ReplayShard(WlcShard):
    """Controllers whose notifications, and when they are due, are those of a capture."""

    def _make_controllers(self, equipment: Equipment, batch: int) -> Sequence[Telling]:
        assert equipment.recording is not None
        members = equipment.share.members
        self._replayers = make_replayers(equipment.plan, equipment.profile, members, batch, equipment.recording)
        rings = [replayer.ring for replayer in self._replayers]
        frame_bytes = min(replayer.frame_bytes for replayer in self._replayers)
        self._most_at_once = min(self._most_at_once, math.ceil(MAX_WRITE_BYTES / frame_bytes))
        if all(ring.tables.is_stamped for ring in rings):
            self._singles = ReplaySingles(equipment.profile, rings)
        self._series: dict[int, list[int]] = {}  # by row: how many of each series its session was sent
        return self._replayers

    def directory_of(self, position: int) -> RecordedAnswers:
        return self._replayers[position].answers

    def recalling_of(self, position: int) -> RecordedAnswers:
        return self._replayers[position].answers

    def _wanted(self, link: WlcLink, done: int, owed: int) -> tuple[int, int]:
        """An MSE is told of what it has subscribed to, and no more."""
        assert link.endpoint is not None
        tables, granted = self._replayers[link.number].ring.tables, link.endpoint.granted
        if not tables.subservices & ~granted:
            return 0, owed
        slot = done % tables.slots
        wanted = tables.bits[slot : slot + owed] & granted != 0
        others = np.flatnonzero(wanted != wanted[0])
        length = int(others[0]) if len(others) else len(wanted)
        return (0, length) if wanted[0] else (length, 0)

    def _frames(self, link: WlcLink, done: int, wanted: int, sequence: int, timing: Timing) -> tuple[memoryview, int]:
        assert link.endpoint is not None
        ring = self._replayers[link.number].ring
        if not sequence or link.row not in self._series:
            self._series[link.row] = [0, 0, 0]
        told = [sequence, 0, 0] if ring.tables.is_stamped else self._series[link.row]
        view, count = ring.patch(done, wanted, told, timing)
        if ring.tables.sayings:
            slot = done % ring.slots
            numbers, counts = np.unique(ring.tables.said[slot : slot + count], return_counts=True)
            for number, times in zip(numbers.tolist(), counts.tolist(), strict=True):
                if number >= 0:  # measurements are counted where they are sent
                    link.endpoint.count_said(_saying(ring.tables.sayings[number]), times)
        return view, count


def _saying(name: str) -> Saying:
    return _KINDS.get(name, name)
