"""What MSEs asked in a capture, asked again at its times: each session asks what one track's MSE did."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec

from loadgen.nmsp.messages import DeviceRequest, Message
from loadgen.nmsp.records import Mac
from loadgen.scenario.requests import PlannedRequest
from loadgen.session.asking import RequestKind
from loadgen.units import NEVER_NS


class RecordedRequest(NamedTuple):
    """One request.

    Attributes:
        at_ns: in the capture's period. track: that it was asked in.
        device: which of the recorded MACs it is about; None: about none of them.
    """

    at_ns: int
    track: int
    message: Message
    device: int | None = None


class RecordedRequestKind(RequestKind):
    """All of one kind. Each session asks what was asked in its track, again and again."""

    def __init__(
        self,
        name: str,
        requests: Sequence[RecordedRequest],
        track_of: Callable[[int], int],
        period_ns: int,
        speed: float,
    ) -> None:
        """Args: name: as of `PlannedRequest`. track_of: a session. speed: times as fast as they were recorded."""
        super().__init__(PlannedRequest(name, 0.0))
        self._requests, self._track_of, self._period_ns, self._speed = requests, track_of, period_ns, speed
        self._own: list[tuple[int, int, int]] = []  # (when in the period, session in this worker, which request)

    def start(self, duration_ns: int, fleet: int, worker: int, workers: int) -> None:
        self.due = 0
        self._own = sorted(
            (request.at_ns, number, which)
            for number, session in enumerate(range(worker, fleet, workers))
            for which, request in enumerate(self._requests)
            if request.track == self._track_of(session)
        )
        end = duration_ns * self._speed
        self.own = sum(max(0, math.ceil((end - at_ns) / self._period_ns)) for at_ns, _, _ in self._own)

    def next_ns(self) -> int:
        if self.due == self.own:
            return NEVER_NS
        period, index = divmod(self.due, len(self._own))
        return int((period * self._period_ns + self._own[index][0]) / self._speed)

    def take(self) -> tuple[int, int]:
        _, number, which = self._own[self.due % len(self._own)]
        self.due += 1
        return number, which

    def message(self, turn: int, macs: Sequence[Mac]) -> Message:
        """As recorded. Args: macs: all recorded ones, as its WLC has them; none: that is not known."""
        request = self._requests[turn]
        if request.device is None or not macs or not isinstance(request.message, DeviceRequest):
            return request.message
        return msgspec.structs.replace(request.message, device_mac=macs[request.device])
