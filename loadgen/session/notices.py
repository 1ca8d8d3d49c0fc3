"""What MSEs are told beside measurements: one message at a time, with a series of numbers of its own in a session."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple, Protocol

import msgspec

from loadgen.measure.recorder import Recorder
from loadgen.nmsp.carried import WHOLE, Carried, carried_by
from loadgen.nmsp.catalogue import CATALOGUE, NOTIFICATIONS
from loadgen.nmsp.messages import ServiceNotify
from loadgen.nmsp.profile import WireProfile
from loadgen.nmsp.services import Subservice, mask_of
from loadgen.session.lulls import Lulls
from loadgen.session.sequence import SequenceCheck
from loadgen.session.told import nearest_number

# What each kind may be about.
_ABOUT = {CATALOGUE[kind].message: mask_of(CATALOGUE[kind].subservices) for kind in NOTIFICATIONS}
# Whatever a peer claims, it goes into a column of int64.
_LATEST_NS = (1 << 63) - 1


class NoticeFigures(NamedTuple):
    """One notification's figures.

    Attributes:
        wanted: it was subscribed to; otherwise it has none.
        at_ns: by which it belongs to its stage.
        latency_ns, service_ns: None: the layout does not tell.
    """

    wanted: bool
    subservice: int
    stage: str
    at_ns: int
    due_ns: int
    latency_ns: int | None
    service_ns: int | None


class HearingEnd(Protocol):
    """An MSE's end of a session, as far as it matters here: its row, its grant, and the numbers that came."""

    number: int
    granted: int
    noticed: SequenceCheck[NoticeFigures] | None


class Notices:
    """All of a worker's. They are notifications: their figures are those of `notify.*`, and of their subservice.

    Attributes:
        heard: how many each endpoint was sent, by its number.
    """

    def __init__(
        self,
        recorder: Recorder,
        to_unix_ns: int,
        *,
        our_schedule: bool = True,
        lulls: Lulls | None = None,
        profile: WireProfile | None = None,
    ) -> None:
        """Args:
        our_schedule: what is due is due by our clock; otherwise stages go by when things came.
        lulls: who is to know that something came.
        profile: of the notifications; None: they carry all that is ours.
        """
        self._lulls = lulls
        self._recorder = recorder
        self._to_unix_ns = to_unix_ns
        self._our_schedule = our_schedule
        self._carried: dict[type[msgspec.Struct], Carried] = {}
        for kind in NOTIFICATIONS if profile is not None else ():
            if profile is not None and kind in profile.layouts:
                self._carried[CATALOGUE[kind].message] = carried_by(profile, kind)
        self.heard: Counter[int] = Counter()

    def take(self, endpoint: HearingEnd, message: ServiceNotify, now_ns: int) -> None:
        """Check and record one."""
        recorder, done_ns = self._recorder, now_ns + self._to_unix_ns
        due_ns, sent_ns = min(message.due_ns, _LATEST_NS), min(message.sent_ns, _LATEST_NS)
        carried = self._carried.get(type(message), WHOLE)
        aged = carried.tells_due and (self._our_schedule or carried.tells_sent)
        at_ns = due_ns if self._our_schedule and aged else done_ns
        if self._our_schedule and not aged:  # what our own WLCs say was due in the load, however late it comes
            at_ns = min(done_ns, recorder.stages.over_ns - 1)
        stage = recorder.stages.at(at_ns)
        recorder.count("notify.received")
        if self._lulls is not None:
            self._lulls.told(endpoint.number, now_ns)
        self.heard[endpoint.number] += 1
        subservice = message.subservice
        known = 0 <= subservice < len(Subservice)
        wanted = known and bool((endpoint.granted & _ABOUT[type(message)]) >> subservice & 1)
        if not wanted:
            recorder.count("errors.stream.not_subscribed")
        latency_ns = done_ns - due_ns if aged else None
        service_ns = done_ns - sent_ns if carried.tells_sent else None
        told = NoticeFigures(wanted, subservice, stage, at_ns, due_ns, latency_ns, service_ns)
        if recorder.clocks is not None and service_ns is not None:
            offset_ns = recorder.clocks.correct_one(endpoint.number, service_ns, now_ns, sent_ns)
            if latency_ns is not None:  # a sent time that is wrong says nothing of when it was due
                usual_ns = latency_ns + recorder.clocks.offset_of(endpoint.number)
                latency_ns = usual_ns if usual_ns >= 0 else max(-_LATEST_NS, latency_ns + offset_ns)
            told = told._replace(latency_ns=latency_ns, service_ns=service_ns + offset_ns)
        if not carried.sequence or self._is_new(endpoint, self._number(endpoint, message, carried), told, now_ns):
            self._record(told)

    def _record(self, told: NoticeFigures) -> None:
        if not told.wanted:
            return
        recorder, stage = self._recorder, told.stage
        name = Subservice(told.subservice).name.lower()
        recorder.count(f"service.{name}.received")
        recorder.wait("received" if self._our_schedule else "came", stage, told.at_ns, told.latency_ns or 0)
        if told.latency_ns is not None:
            recorder.record("notify.latency", told.latency_ns, stage)
            recorder.record(f"service.{name}.latency", told.latency_ns, stage)
        if told.service_ns is not None:
            recorder.record("notify.service", told.service_ns, stage)

    def _number(self, endpoint: HearingEnd, message: ServiceNotify, carried: Carried) -> int:
        """Its sequence number; one that has gone round is the one that is nearest to what came before."""
        if carried.sequence == WHOLE.sequence:
            return message.sequence
        expected = 0 if endpoint.noticed is None else endpoint.noticed.expected
        return nearest_number(message.sequence, expected, carried.sequence)

    def _is_new(self, endpoint: HearingEnd, sequence: int, told: NoticeFigures, now_ns: int) -> bool:
        """Whether it is no duplicate: those have no figures but their count."""
        if (check := endpoint.noticed) is None:
            check = endpoint.noticed = SequenceCheck()
        if sequence == check.expected:
            return check.take(sequence, told.due_ns)
        judged = check.take_all([sequence], [told.due_ns], self._recorder.count, now_ns)
        if judged.cleared and check.held is not None:
            self._record(check.held)
        if judged.doubtful is not None:
            check.held = told
        return judged.new[0]
