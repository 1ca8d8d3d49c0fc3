"""What MSEs are told beside measurements: one message at a time, with a series of numbers of its own in a session."""

from __future__ import annotations

from typing import Protocol

from loadgen.endpoint.sequence import SequenceCheck
from loadgen.measure.recorder import Recorder
from loadgen.nmsp.catalogue import CATALOGUE, NOTIFICATIONS
from loadgen.nmsp.messages import ServiceNotify
from loadgen.nmsp.services import Subservice, mask_of

# What each kind may be about.
_ABOUT = {CATALOGUE[kind].message: mask_of(CATALOGUE[kind].subservices) for kind in NOTIFICATIONS}
# Whatever a peer claims, it goes into a column of int64.
_LATEST_NS = (1 << 63) - 1


class HearingEnd(Protocol):
    """An MSE's end of a session, as far as it matters here: its row, its grant, and the numbers that came."""

    number: int
    granted: int
    noticed: SequenceCheck | None


class Notices:
    """All of a worker's. They are notifications: their figures are those of `notify.*`, and of their subservice."""

    def __init__(self, recorder: Recorder, to_unix_ns: int, *, our_schedule: bool = True) -> None:
        """Args: our_schedule: what is due is due by our clock; otherwise stages go by when things came."""
        self._recorder = recorder
        self._to_unix_ns = to_unix_ns
        self._our_schedule = our_schedule

    def take(self, endpoint: HearingEnd, message: ServiceNotify, now_ns: int) -> None:
        """Check and record one."""
        recorder, done_ns = self._recorder, now_ns + self._to_unix_ns
        due_ns, sent_ns = min(message.due_ns, _LATEST_NS), min(message.sent_ns, _LATEST_NS)
        stage = recorder.stages.at(due_ns if self._our_schedule else done_ns)
        recorder.count("notify.received")
        subservice = message.subservice
        known = 0 <= subservice < len(Subservice)
        if not known or not (endpoint.granted & _ABOUT[type(message)]) >> subservice & 1:
            recorder.count("errors.stream.not_subscribed")
        if not self._is_new(endpoint, message.sequence, due_ns):
            return
        latency_ns, service_ns = done_ns - due_ns, done_ns - sent_ns
        if recorder.clocks is not None:
            offset_ns = recorder.clocks.correct_one(endpoint.number, service_ns, now_ns, sent_ns)
            latency_ns, service_ns = max(-_LATEST_NS, latency_ns + offset_ns), service_ns + offset_ns
        recorder.record("notify.latency", latency_ns, stage)
        recorder.record("notify.service", service_ns, stage)
        if self._our_schedule:
            recorder.wait("received", stage, due_ns, latency_ns)
        if known:
            name = Subservice(subservice).name.lower()
            recorder.count(f"service.{name}.received")
            recorder.record(f"service.{name}.latency", latency_ns, stage)

    def _is_new(self, endpoint: HearingEnd, sequence: int, due_ns: int) -> bool:
        """Whether it is no duplicate: those have no figures but their count."""
        if (check := endpoint.noticed) is None:
            check = endpoint.noticed = SequenceCheck()
        if sequence == check.expected:
            return check.take(sequence, due_ns)
        return check.take_all([sequence], [due_ns], self._recorder.count)[0]
