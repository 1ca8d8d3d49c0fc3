"""For how long a session is to stay: until the load is over, or the run is told to finish."""

from __future__ import annotations

from collections.abc import Sequence

from loadgen.clock import Nanoseconds
from loadgen.drive.presence import Presence, leaving_ns
from loadgen.measure.recorder import Recorder
from loadgen.scenario.plan import Plan, Use, end_ns
from loadgen.scenario.schedule import RateStage
from loadgen.units import NEVER_NS


class Term:
    """Counts the peers that leave before it is over."""

    def __init__(self, plan: Plan, recorder: Recorder, clock: Nanoseconds) -> None:
        self._clock = clock
        self._recorder = recorder
        self._strangers = plan.use is not Use.BOTH  # ours leave when they are told to
        self._ours_to_time = not plan.use.plays_mse
        self._end_ns = NEVER_NS

    def begin(self, at_ns: int, stages: Sequence[RateStage], presence: Presence | None) -> None:
        """A load of these stages begins at `at_ns` (monotonic). Args: presence: of those who should be there in it; who
        has left too early is missing, and the other way round.
        """
        if presence is not None:
            self._end_ns = presence.leaving_ns
        else:
            length_ns = end_ns(stages)
            self._end_ns = leaving_ns(at_ns + length_ns, length_ns, ours_to_time=self._ours_to_time)

    def end(self) -> None:
        """We end it; a second call changes nothing."""
        self._end_ns = min(self._end_ns, self._clock())

    def left(self) -> None:
        """The peer of an established session has closed it in order."""
        if self._strangers and self._clock() < self._end_ns:
            self._recorder.count("sessions.left_early")
